//! Whole runs under any fate: crashes, refusals, doubts, deadlines, deploys and people who resume.

use super::world::{Bounds, Fate, World};
use crate::definition::{Agent, OnError};
use crate::effect::Effect;
use crate::fallback::{CachePolicy, Escalation, Fallback, Priority, Substitute};
use crate::fixture::{agent, probe};
use proptest::prelude::*;
use serde_json::Map;

const BOUNDS: Bounds = Bounds { crashes: 5, resumes: 3 };

fn fate() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_run_keeps_its_promises_and_comes_to_an_end_whatever_happens(
        fate in fate(),
        turns_max in 1..8_u32,
        has_probe in any::<bool>(),
        has_order in any::<bool>(),
        falls_back in any::<bool>(),
        deadline in prop::option::of(1..300_i64),
    ) {
        let mut agent = agent();
        agent.limits.turns_max = turns_max;
        if has_probe {
            for tool in agent.tools.iter_mut().filter(|tool| tool.effect.leaves_doubt()) {
                tool.probe = Some(probe());
            }
        }
        if has_order {
            put_in_order(&mut agent);
        }
        if falls_back {
            let_fall_back(&mut agent);
        }
        World::new(agent, BOUNDS, Fate::new(fate)).with_deadline(deadline).run();
    }
}

/// `pay` comes after `look` and `book`, `audit` after `pay`, no two bookings are out at the same time, and one that
/// fails is the run's failure.
fn put_in_order(agent: &mut Agent) {
    for tool in &mut agent.tools {
        tool.after = match tool.name.as_str() {
            "pay" => vec!["look".to_owned(), "book".to_owned()],
            "audit" => vec!["pay".to_owned()],
            _ => Vec::new(),
        };
        tool.parallel = tool.name != "book";
        if tool.name == "book" {
            tool.on_error = OnError::FailRun;
        }
    }
}

/// Each tool has a way out of its own.
fn let_fall_back(agent: &mut Agent) {
    let call = |tool: &str| {
        Fallback::Call(Substitute {
            tool: tool.to_owned(),
            input: Map::new(),
            simplified: false,
            sample_rows: None,
            note: None,
        })
    };
    let person = || {
        Fallback::Person(Escalation {
            priority: Priority::High,
            note: None,
        })
    };
    for tool in &mut agent.tools {
        tool.cache = (tool.effect == Effect::ReadOnly).then_some(CachePolicy {
            ttl_seconds: 10,
            stale_on_error_seconds: 60,
            per_requester: false,
        });
        tool.fallback = match tool.name.as_str() {
            "look" => vec![call("look")],
            "book" => vec![call("pay"), call("look"), person()],
            "pay" => vec![person()],
            _ => vec![call("look")],
        };
    }
}

#[test]
fn a_run_that_nothing_happens_to_is_answered_at_once() {
    let log = World::new(agent(), BOUNDS, Fate::new(Vec::new())).run();

    assert_eq!(log.first().map(String::as_str), Some("model 1"));
    assert_eq!(log.last().map(String::as_str), Some(r#"finish "So be it.""#));
}
