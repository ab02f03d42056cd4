//! What the outside world does in a simulated run.

use crate::effect::AttemptOutcome;
use crate::error::{ErrorClass, StepError};
use crate::fixture::raw;
use crate::journal::ModelReply;
use crate::wire::messages::SPEND_CAP;
use serde_json::{Value, json};

/// Most calls in one generated reply.
pub(super) const CALLS_MAX: u32 = 6;
const CLASSES: [ErrorClass; 8] = [
    ErrorClass::Transient,
    ErrorClass::RateLimited,
    ErrorClass::Overloaded,
    ErrorClass::Timeout,
    ErrorClass::Permanent,
    ErrorClass::UserError,
    ErrorClass::InvalidInput,
    ErrorClass::Unknown,
];

/// What happens where anything may; once it has run out, what is asked first comes true.
pub(in super::super) struct Fate {
    rolls: std::vec::IntoIter<u16>,
    /// Ids of calls given so far.
    ids: u32,
}

impl Fate {
    pub(in super::super) fn new(rolls: Vec<u16>) -> Self {
        Self {
            rolls: rolls.into_iter(),
            ids: 0,
        }
    }

    pub(super) fn pick(&mut self, ways: u16) -> u16 {
        self.rolls.next().unwrap_or_default() % ways
    }

    /// Once in so many times.
    pub(super) fn strikes(&mut self, once_in: u16) -> bool {
        self.pick(once_in) == once_in - 1
    }

    pub(super) fn one_of<T: Copy>(&mut self, ways: &[T]) -> T {
        ways[usize::from(self.pick(u16::try_from(ways.len()).unwrap()))]
    }

    pub(super) fn failure(&mut self) -> AttemptOutcome<()> {
        let class = self.one_of(&CLASSES);
        let code = if self.strikes(8) { SPEND_CAP } else { "trouble" };
        let error = StepError::new(class, code, "as fate would have it");
        match self.pick(3) {
            0 => AttemptOutcome::Ambiguous {
                error,
                retry_after: None,
            },
            1 => AttemptOutcome::NotSent(error),
            _ => AttemptOutcome::NotApplied {
                error,
                retry_after: None,
            },
        }
    }

    /// A reply with any stop reason and any content that the wire lets through.
    pub(super) fn reply(&mut self) -> ModelReply {
        let mut blocks: Vec<Value> = Vec::new();
        if self.strikes(3) {
            blocks.push(json!({"type": "thinking", "thinking": "hm", "signature": "s"}));
        }
        match self.pick(5) {
            0 => blocks.push(json!({"type": "text", "text": "So be it."})),
            1 => blocks.push(json!({"type": "text", "text": " "})),
            2 => blocks.push(json!({"type": "novelty", "of": "2027"})),
            _ => {}
        }
        let names = ["look", "book", "pay", "audit", "nobody"];
        for _ in 0..self.one_of(&[0, 1, 1, 2, 2, 3, CALLS_MAX]) {
            let is_twin = self.ids > 0 && self.strikes(60);
            self.ids += u32::from(!is_twin);
            let name = self.one_of(&names);
            blocks.push(json!({"type": "tool_use", "id": format!("c{}", self.ids), "name": name, "input": {}}));
        }
        let has_calls = blocks.iter().any(|block| block["type"] == "tool_use");
        let stop_reason = if has_calls && !self.strikes(5) {
            Some("tool_use")
        } else {
            self.one_of(&[
                Some("end_turn"),
                Some("pause_turn"),
                Some("stop_sequence"),
                Some("max_tokens"),
                Some("refusal"),
                Some("model_context_window_exceeded"),
                Some("novelty"),
                Some("tool_use"),
                None,
            ])
        };
        ModelReply {
            id: None,
            model: None,
            content: raw(&json!(blocks)),
            stop_reason: stop_reason.map(str::to_owned),
            usage: None,
            stop_details: None,
        }
    }
}
