//! The people of a storm: they decide what is open, by what the world outside knows.
//!
//! Some questions nobody looks at, some are given up, and some are decided by two people at once. Start at
//! [`Driver::attend`].

use super::doors::Request;
use super::{Driver, LOOK_EVERY, Question, Word, any_door};
use crate::plan;
use crate::record::{Decision, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Of so many questions one stays open.
const UNREAD_EVERY: u32 = 6;
/// Of so many one is decided by two people at once.
const TWINS_EVERY: u32 = 4;
/// Of so many doubts one is given up, whatever became of the call.
const GIVEN_UP_EVERY: u32 = 10;
/// How long somebody thinks at most.
const THOUGHT_MAX_MS: u64 = 1500;
/// After a question was read too early, or nobody could say what became of its call.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What is asked of people.
#[derive(Debug, Clone, Deserialize, sqlx::FromRow)]
pub(super) struct Open {
    pub(super) id: String,
    pub(super) run: String,
    /// The number of the run in the plan.
    pub(super) number: String,
    /// Of the call that it is about; none: it is about the run.
    pub(super) key: Option<String>,
}

impl Driver {
    /// Looks at the inbox until the end, and has each question decided.
    pub(super) async fn attend(self: Arc<Self>, mut conductor: watch::Receiver<Word>) -> anyhow::Result<()> {
        let mut seen = HashSet::new();
        let mut thinking = JoinSet::new();
        while *conductor.borrow() == Word::GoOn {
            while let Some(thought) = thinking.try_join_next() {
                thought??;
            }
            for open in self.doors.inbox().await {
                if seen.insert(open.id.clone()) {
                    thinking.spawn(Arc::clone(&self).think(open, conductor.clone()));
                }
            }
            let _ = tokio::time::timeout(LOOK_EVERY * 2, conductor.changed()).await;
        }
        while let Some(thought) = thinking.join_next().await {
            thought??;
        }
        Ok(())
    }

    async fn think(self: Arc<Self>, open: Open, conductor: watch::Receiver<Word>) -> anyhow::Result<()> {
        let number: u64 = open.number.parse()?;
        let seed: u64 = open
            .id
            .bytes()
            .fold(0, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
        let mut random = plan::random(self.plan.seed, "person", seed);
        if random.u32(..UNREAD_EVERY) == 0 {
            return Ok(());
        }
        let gives_up = random.u32(..GIVEN_UP_EVERY) == 0;
        let has_twin = random.u32(..TWINS_EVERY) == 0;
        tokio::time::sleep(Duration::from_millis(random.u64(..THOUGHT_MAX_MS))).await;
        while *conductor.borrow() == Word::GoOn {
            let Some((verb, result)) = self.verdict(&open, gives_up).await else {
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            };
            let mut question = |verb: &str, result: Option<String>| Question {
                run: number,
                request: Request::Decide {
                    run: open.run.clone(),
                    decision: Decision {
                        approval: open.id.clone(),
                        verb: verb.to_owned(),
                    },
                    result,
                },
                door: any_door(&mut random),
                random: random.fork(),
            };
            let own = question(verb, result);
            let other = question("give_up", None);
            let twin = async {
                if has_twin && open.key.is_some() {
                    self.ask_once(&other, false).await.map(Some)
                } else {
                    Ok(None)
                }
            };
            let (own, other) = tokio::join!(self.ask_once(&own, false), twin);
            match (own?, other?) {
                (Outcome::Refused(code), None | Some(Outcome::Refused(_))) if code == "too_early" => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                (Outcome::Indeterminate(_), _) => tokio::time::sleep(AGAIN_AFTER).await,
                _ => break,
            }
        }
        Ok(())
    }

    /// What to say; nothing while the world cannot be asked.
    async fn verdict(&self, open: &Open, gives_up: bool) -> Option<(&'static str, Option<String>)> {
        let Some(key) = &open.key else {
            return Some(("approve", None));
        };
        if gives_up {
            return Some(("give_up", None));
        }
        let told = self.doors.look(key).await?;
        Some(if told["happened"] == true {
            // As the call itself would have been answered.
            let receipt = json!({"effect": told["effect"], "receipt": told["receipt"]}).to_string();
            ("happened", Some(Value::String(receipt).to_string()))
        } else {
            ("did_not_happen", None)
        })
    }
}
