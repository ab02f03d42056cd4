//! Earlier results of tools that change nothing: looked up before a call is made, and kept once one has succeeded.
//!
//! A cache is a hint about results that stand in journals: what is lost of it costs a call and nothing else, so nothing
//! here ever holds a run up. The database's clock alone judges how old a result is.

use super::Driver;
use super::begin::{Moves, New};
use super::wanted::{Wanted, digest_of};
use agent::definition::Tool;
use agent::fallback::{CachePolicy, Label, Source, Way};
use agent::next_action::Move;
use agent::tool::ToolRequest;
use agent::{Effect, ErrorClass, Step, StepBody, StepError, StepState, ToolOutcome};
use engine::transition::{CacheKey, Kept};
use std::collections::HashMap;
use tracing::warn;

/// Earlier results, by turn and place of the calls that they answer.
pub(super) type Recalled = HashMap<(u32, u32), Recall>;

/// An earlier result that answers a call.
pub(super) struct Recall {
    told: ToolOutcome,
    age_seconds: u64,
    request: ToolRequest,
}

impl Driver {
    /// The policy of a tool whose results may be told again. What has an effect never is, whatever a definition says.
    fn cached(tool: &Tool) -> Option<&CachePolicy> {
        tool.cache.as_ref().filter(|_| tool.effect == Effect::ReadOnly)
    }

    fn key<'a>(&'a self, (tool, policy): (&Tool, &CachePolicy), digest: &'a [u8]) -> Option<CacheKey<'a>> {
        Some(CacheKey {
            tenant: &self.tenant,
            requester: if policy.per_requester { &self.requester } else { "" },
            tool: self.version.tool_digests.get(&tool.name)?,
            request: digest,
        })
    }

    /// Looks earlier results up for all that is about to be called. One that had to wait for another call is made.
    pub(super) async fn recall(&self, moves: &[Move]) -> Recalled {
        let mut recalled = Recalled::new();
        for next in moves {
            let (place, call, stale) = if let Move::CallTool {
                turn,
                index,
                call,
                held: false,
                ..
            } = next
            {
                ((*turn, *index), call, false)
            } else if let Move::FallBack {
                turn,
                index,
                call,
                way: Way::Stale,
                ..
            } = next
            {
                ((*turn, *index), call, true)
            } else {
                continue;
            };
            let found = self.version.agent.tool(&call.name);
            let Some((tool, policy)) = found.and_then(|tool| Some((tool, Self::cached(tool)?))) else {
                continue;
            };
            let longest = if stale {
                policy.stale_on_error_seconds
            } else {
                policy.ttl_seconds
            };
            let Ok(request) = self.request_of(tool, call.input.get()) else {
                continue;
            };
            if let Some(found) = self.look_up((tool, policy), request, longest).await {
                recalled.insert(place, found);
            }
        }
        recalled
    }

    async fn look_up(&self, tool: (&Tool, &CachePolicy), request: ToolRequest, longest_seconds: u32) -> Option<Recall> {
        let digest = digest_of(&request);
        let kept = self
            .hold
            .shared
            .engine
            .recall(self.key(tool, &digest)?, longest_seconds)
            .await;
        let Kept { result, age_seconds } = match kept {
            Ok(kept) => kept?,
            Err(error) => {
                warn!(error = %error, "the cache of tool {} does not answer; it is called", tool.0.name);
                return None;
            }
        };
        let mut told: ToolOutcome = serde_json::from_str(&result).ok()?;
        // Its own label stands in the first line.
        if told.label.take().is_some() {
            let (_, content) = told.content.split_once('\n')?;
            told.content = content.to_owned();
        }
        Some(Recall {
            told,
            age_seconds,
            request,
        })
    }

    /// Records a call as answered by an earlier result.
    pub(super) fn answer_recalled(&self, making: &mut Moves, asked: &Wanted, (tool, recalled): (&Tool, Recall)) {
        let fresh = tool.cache.as_ref().map_or(0, |cache| u64::from(cache.ttl_seconds));
        let source = match recalled.age_seconds <= fresh {
            true => Source::Cache,
            false => Source::StaleCache,
        };
        let label = self.label_in_place_of(asked).cached((source, recalled.age_seconds));
        let told = label.tell(recalled.told);
        self.begin(
            making,
            New {
                turn: asked.turn,
                replaces: asked.replaces,
                name: &tool.name,
                effect: tool.effect,
                retry: None,
                body: asked.body(tool, Some(told)),
                identity: None,
                digest: digest_of(&recalled.request),
                request: Some(recalled.request),
                error: None,
                held: false,
            },
        );
    }

    /// Records that there is no earlier result for a call that failed. It goes on with what the call failed with.
    pub(super) fn answer_missed(&self, making: &mut Moves, asked: &Wanted, tool: &Tool) {
        let label: Label = self.label_in_place_of(asked);
        let failed = asked
            .replaces
            .and_then(|seq| self.step(seq))
            .and_then(|step| step.error.as_ref());
        let class = failed.map_or(ErrorClass::Permanent, |error| error.class);
        let mut error = StepError::new(
            class,
            "cache_miss",
            "the call failed, and no earlier result is recent enough to stand for it",
        );
        error.suggestion = failed.and_then(|error| error.suggestion.clone());
        self.answer_failed(making, asked, (tool, error, label));
    }

    /// Whether a step's result is one that is kept for later calls.
    pub(super) fn is_kept(&self, step: &Step) -> bool {
        let StepBody::Tool { name, .. } = &step.body else {
            return false;
        };
        step.state == StepState::Succeeded
            && self
                .version
                .agent
                .tool(name)
                .is_some_and(|tool| Self::cached(tool).is_some())
    }

    /// Keeps the result of a step that has just succeeded for later calls.
    pub(super) async fn remember(&self, step: &Step) {
        let StepBody::Tool { name, .. } = &step.body else {
            return;
        };
        let tool = self.version.agent.tool(name);
        let Some((tool, policy)) = tool.and_then(|tool| Some((tool, Self::cached(tool)?))) else {
            return;
        };
        let Some(key) = self
            .sent
            .get(&step.seq)
            .and_then(|sent| self.key((tool, policy), &sent.digest))
        else {
            return;
        };
        let (engine, run) = (&self.hold.shared.engine, self.hold.run());
        let kept = engine.remember(key, (run, step.seq), policy.longest_seconds()).await;
        if let Err(error) = kept {
            warn!(error = %error, "a result of tool {name} is not kept for later calls");
        }
    }
}
