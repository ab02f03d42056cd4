//! The laws. Each is a function of the history that says where it was broken, and stands under a short name.

mod answered;
mod asked;
mod caps;
mod children;
mod content;
mod decisions;
mod effects;
mod fence;
mod given_up;
mod intent;
mod journal;
mod lease;
pub(super) mod pick_up;
mod receipts;
mod sales;
mod sender;
mod signals;
pub(super) mod stall;
mod timers;
pub(super) mod windows;

use super::history::History;
use crate::record::Micros;
use uuid::Uuid;

/// Crashes after which a run waits for a worker that drives no ordinary ones.
const SUSPECT_FROM: i32 = 2;

/// One law.
#[derive(Debug)]
pub(super) struct Law {
    pub(super) name: &'static str,
    /// What it demands.
    pub(super) says: &'static str,
    pub(super) broken: fn(&History) -> Vec<Finding>,
}

/// One place where a law was broken, with what one needs to look further.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Finding {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Micros>,
    pub(super) what: String,
}

impl Finding {
    fn new(what: impl Into<String>) -> Self {
        Self {
            run: None,
            effect: None,
            at: None,
            what: what.into(),
        }
    }

    fn run(mut self, id: Uuid) -> Self {
        self.run = Some(id);
        self
    }

    fn effect(mut self, name: &str) -> Self {
        self.effect = Some(name.to_owned());
        self
    }

    fn at(mut self, at: Micros) -> Self {
        self.at = Some(at);
        self
    }
}

/// All of them, in the order in which they are told.
pub(super) static LAWS: [Law; 28] = [
    Law {
        name: "acknowledged",
        says: "what was acknowledged is there, once, and nothing is there that nobody asked for",
        broken: asked::acknowledged,
    },
    Law {
        name: "ended",
        says: "each run has succeeded, was cancelled on request, or waits for a person with a reason that holds",
        broken: asked::ended,
    },
    Law {
        name: "planned",
        says: "what is asked for was planned, and a run that succeeded has asked for all of it",
        broken: effects::planned,
    },
    Law {
        name: "key",
        says: "all calls of an effect carry one key and one body",
        broken: effects::key,
    },
    Law {
        name: "idempotent",
        says: "applied once where its step succeeded, never where it failed, and never twice",
        broken: effects::idempotent,
    },
    Law {
        name: "at_most_once",
        says: "never sent again in doubt, never applied twice, and what was applied is recorded as done or unknown",
        broken: effects::at_most_once,
    },
    Law {
        name: "read_only",
        says: "a result has a call behind it",
        broken: effects::read_only,
    },
    Law {
        name: "given_up",
        says: "what failed was refused, what is unknown was left in doubt, and few idempotent calls are given up",
        broken: given_up::given_up,
    },
    Law {
        name: "content",
        says: "what is recorded as a result is what the world answered",
        broken: content::content,
    },
    Law {
        name: "answered",
        says: "every call that the model asks for is answered once, in the order asked, under its own name",
        broken: answered::answered,
    },
    Law {
        name: "sender",
        says: "a call comes from a worker that holds its run, unless it was stopped or killed",
        broken: sender::sender,
    },
    Law {
        name: "intent",
        says: "each call was recorded before it was made, or may be repeated under a key that follows from the plan",
        broken: intent::intent,
    },
    Law {
        name: "signals",
        says: "an acknowledged signal is there once, waits take signals in their order, and pass none over that had come",
        broken: signals::signals,
    },
    Law {
        name: "children",
        says: "a child is started once, its parent learns of its end, and it does not outlive its parent",
        broken: children::children,
    },
    Law {
        name: "transactions",
        says: "what a transaction wrote is there as often as its step succeeded",
        broken: sales::sales,
    },
    Law {
        name: "receipts",
        says: "what is asked for over SQL is there with the application's own row, or neither is",
        broken: receipts::receipts,
    },
    Law {
        name: "decisions",
        says: "a person's word counts once and binds, and whoever has to be asked is asked",
        broken: decisions::decisions,
    },
    Law {
        name: "dense",
        says: "the events of a run are numbered 1..n",
        broken: journal::dense,
    },
    Law {
        name: "after_end",
        says: "nothing follows an end, and nothing is begun once a cancel was asked for",
        broken: journal::after_end,
    },
    Law {
        name: "fence",
        says: "fences only grow, each claim takes the next one, and only its worker writes under it",
        broken: fence::fence,
    },
    Law {
        name: "lease",
        says: "nothing is taken back before its worker's lease is over, by the database's clock",
        broken: lease::lease,
    },
    Law {
        name: "timers",
        says: "nothing that waits for a time goes on before it, by the database's clock",
        broken: timers::timers,
    },
    Law {
        name: "caps",
        says: "attempts keep their bound, and each lost worker is counted",
        broken: caps::caps,
    },
    Law {
        name: "one_end",
        says: "a step ends at most once, and its attempts are numbered 1..n",
        broken: journal::one_end,
    },
    Law {
        name: "stall",
        says: "a run that could go on goes on",
        broken: stall::stall,
    },
    Law {
        name: "workers",
        says: "no worker ends unless it is killed, and no driver breaks",
        broken: windows::workers,
    },
    Law {
        name: "pick_up",
        says: "what a dead worker held is claimed again within its lease and two seconds",
        broken: pick_up::pick_up,
    },
    Law {
        name: "windows",
        says: "a storm that did not blow proves nothing",
        broken: windows::blew,
    },
];

/// Seconds, for people.
pub(super) fn seconds(span: Micros) -> String {
    let milliseconds = span.abs() / 1000;
    let sign = if span < 0 { "-" } else { "" };
    format!("{sign}{}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}
