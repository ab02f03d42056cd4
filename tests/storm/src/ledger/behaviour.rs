//! How an arrival is treated: a function of the seed, the effect, and how often it was asked for before.
//!
//! No clock has a say, so that a storm can be repeated as far as its workers repeat themselves. An effect that was
//! asked for again and again is treated better and better, or runs would not end. Start at [`draw`].

use crate::plan::random;
use crate::record::{Declared, Front};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a call asks for: its body, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) effect: String,
    pub(crate) front: Front,
    pub(crate) declared: Declared,
}

/// What a program or a function is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// What it shall say.
    pub(crate) result: String,
    /// How it shall end.
    pub(crate) then: Then,
}

/// How a program or a function shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub(crate) enum Then {
    Well,
    /// With an exit code.
    Exit {
        code: u8,
    },
    /// By SIGKILL, sent to itself.
    Kill,
    /// Not before its time limit.
    Hang,
    /// Well, after bytes that are no text.
    Garbage,
    /// A function's error that may pass.
    Transient,
    /// A function's error that may pass, vouching that nothing was done.
    NotApplied,
    Panic,
}

/// How an arrival is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behaviour {
    /// For the record.
    pub(super) name: &'static str,
    pub(super) deed: Deed,
    pub(super) answer: Answer,
}

/// When the effect takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    AtOnce,
    /// So long after its arrival, whether or not the caller is still there.
    Late(Duration),
    /// So long after the caller was left without an answer.
    Behind(Duration),
    /// When the caller has hung up.
    GivenUp,
    Never,
}

/// What the caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// That it was done.
    Receipt(Manner),
    /// A status that is not success.
    Status { status: u16, retry_after: bool },
    /// How to end, in an answer that is a good one.
    Tell(Then),
    /// The connection ends without one.
    Nothing,
}

/// How an answer goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    /// So few bytes at a time.
    Drip {
        bytes: usize,
    },
    /// The connection is reset after so much of it.
    Reset {
        percent: usize,
    },
    /// Its length is that of all of it, and so much of its body comes.
    Truncated {
        percent: usize,
    },
    /// All of it, and all of it again.
    Doubled,
}

/// Nothing unusual.
pub(super) const GOOD: Behaviour = at_once("good", Answer::Receipt(Manner::Whole));

/// The key of an `idempotent` call came with another body before.
pub(super) const CONFLICT: Behaviour = refusal("conflict", 422);

/// Of so many HTTP calls that change nothing, one is refused for ever.
const HOPELESS_EVERY: u32 = 25;

/// What came is no call.
pub(super) const UNREADABLE: Behaviour = refusal("unreadable", 400);

/// How an arrival is treated whose effect had so many before.
pub(super) fn draw(seed: u64, asked: &Asked, before: u64) -> Behaviour {
    if is_hopeless(seed, asked) {
        return refusal("hopeless", 503);
    }
    let mut random = random(seed, &format!("ledger {}", asked.effect), before);
    let (late, bad) = percentages(asked.declared, before);
    let lot = random.u32(..100);
    if lot < late {
        let gap = Duration::from_millis(random.u64(200..=600));
        return Behaviour {
            deed: Deed::Late(gap),
            name: "late",
            ..GOOD
        };
    }
    if lot >= late + bad {
        return GOOD;
    }
    match asked.front {
        Front::Http if doubts(asked.declared, &mut random) => BEHIND,
        Front::Http => http(&mut random),
        Front::Command => command(&mut random),
        Front::Function => function(&mut random),
    }
}

/// What is never answered well, however often it is asked for: so that attempts come to their end.
fn is_hopeless(seed: u64, asked: &Asked) -> bool {
    let may_be = asked.front == Front::Http && asked.declared == Declared::ReadOnly;
    may_be && random(seed, &format!("hopeless {}", asked.effect), 0).u32(..HOPELESS_EVERY) == 0
}

/// How many of a hundred are applied late, and how many fare badly in another way. A doubt about a call that may not be
/// repeated ends its run's way, so there are fewer of them.
const fn percentages(declared: Declared, before: u64) -> (u32, u32) {
    match (before, declared) {
        (0 | 1, Declared::ReadOnly | Declared::Idempotent) => (10, 30),
        (0 | 1, Declared::AtMostOnce) => (10, 15),
        (2, Declared::ReadOnly | Declared::Idempotent) => (6, 18),
        (2, Declared::AtMostOnce) => (6, 9),
        (3, Declared::ReadOnly | Declared::Idempotent) => (3, 7),
        (3, Declared::AtMostOnce) => (3, 4),
        (4.., _) => (0, 0),
    }
}

/// Of calls that may not be repeated, of which there are few, those matter most that take place unseen.
fn doubts(declared: Declared, random: &mut fastrand::Rng) -> bool {
    declared == Declared::AtMostOnce && random.u32(..3) == 0
}

fn http(random: &mut fastrand::Rng) -> Behaviour {
    match random.u32(..30) {
        0..3 => UNANSWERED,
        3..5 => BEHIND,
        5..9 => at_once("error_after", status(500)),
        9..11 => refusal_with_pause("limited_with_pause", 429),
        11..13 => refusal("limited", 429),
        13..15 => refusal_with_pause("away_with_pause", 503),
        15..17 => refusal("away", 503),
        17..21 => GIVEN_UP,
        21..24 => {
            // An answer has about 105 bytes: within two seconds it comes three at a time, and not two at a time.
            let bytes = random.usize(1..=8);
            at_once("drip", Answer::Receipt(Manner::Drip { bytes }))
        }
        24..27 => reset(random),
        27..29 => {
            let percent = random.usize(..100);
            at_once("truncated", Answer::Receipt(Manner::Truncated { percent }))
        }
        _ => at_once("doubled", Answer::Receipt(Manner::Doubled)),
    }
}

/// Exit code 1 and code 10 end a step for good, so there are fewer of them.
fn command(random: &mut fastrand::Rng) -> Behaviour {
    match random.u32(..30) {
        0..2 => at_once("exit_1_after", Answer::Tell(Then::Exit { code: 1 })),
        2..5 => instead("exit_10_instead", Then::Exit { code: 10 }),
        5..9 => instead("exit_75_instead", Then::Exit { code: 75 }),
        9..14 => at_once("kill_after", Answer::Tell(Then::Kill)),
        14..17 => at_once("hang_after", Answer::Tell(Then::Hang)),
        17..20 => at_once("garbage_after", Answer::Tell(Then::Garbage)),
        20..24 => UNANSWERED,
        24..27 => GIVEN_UP,
        _ => reset(random),
    }
}

fn function(random: &mut fastrand::Rng) -> Behaviour {
    match random.u32(..30) {
        0..6 => at_once("transient_after", Answer::Tell(Then::Transient)),
        6..12 => instead("not_applied_instead", Then::NotApplied),
        12..14 => at_once("panic_after", Answer::Tell(Then::Panic)),
        14..18 => at_once("hang_after", Answer::Tell(Then::Hang)),
        18..23 => UNANSWERED,
        23..26 => GIVEN_UP,
        _ => reset(random),
    }
}

const UNANSWERED: Behaviour = at_once("unanswered", Answer::Nothing);

/// Before the time limit of any tool.
const BEHIND: Behaviour = Behaviour {
    name: "behind",
    deed: Deed::Behind(Duration::from_secs(1)),
    answer: Answer::Nothing,
};

const GIVEN_UP: Behaviour = Behaviour {
    name: "given_up",
    deed: Deed::GivenUp,
    answer: Answer::Nothing,
};

fn reset(random: &mut fastrand::Rng) -> Behaviour {
    let percent = random.usize(..100);
    at_once("reset", Answer::Receipt(Manner::Reset { percent }))
}

const fn status(status: u16) -> Answer {
    Answer::Status {
        status,
        retry_after: false,
    }
}

const fn at_once(name: &'static str, answer: Answer) -> Behaviour {
    Behaviour {
        name,
        deed: Deed::AtOnce,
        answer,
    }
}

const fn refusal(name: &'static str, code: u16) -> Behaviour {
    Behaviour {
        name,
        deed: Deed::Never,
        answer: status(code),
    }
}

const fn refusal_with_pause(name: &'static str, status: u16) -> Behaviour {
    Behaviour {
        name,
        deed: Deed::Never,
        answer: Answer::Status {
            status,
            retry_after: true,
        },
    }
}

const fn instead(name: &'static str, then: Then) -> Behaviour {
    Behaviour {
        name,
        deed: Deed::Never,
        answer: Answer::Tell(then),
    }
}
