//! Whole runs under any fate: crashes, refusals, doubts, deadlines, deploys and people who resume.

use super::world::{Bounds, Fate, World};
use crate::fixture::{agent, probe};
use proptest::prelude::*;

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
        deadline in prop::option::of(1..300_i64),
    ) {
        let mut agent = agent();
        agent.limits.turns_max = turns_max;
        if has_probe {
            for tool in agent.tools.iter_mut().filter(|tool| tool.effect.leaves_doubt()) {
                tool.probe = Some(probe());
            }
        }
        World::new(agent, BOUNDS, Fate::new(fate)).with_deadline(deadline).run();
    }
}

#[test]
fn a_run_that_nothing_happens_to_is_answered_at_once() {
    let log = World::new(agent(), BOUNDS, Fate::new(Vec::new())).run();

    assert_eq!(log.first().map(String::as_str), Some("model 1"));
    assert_eq!(log.last().map(String::as_str), Some(r#"finish "So be it.""#));
}
