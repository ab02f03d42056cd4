//! Each law against a history that breaks it and no other, beside a good one that breaks none.

mod account;
mod asked;
mod beside;
mod content;
mod dumped;
mod effects;
mod given_up;
mod good;
mod journal;
mod promises;
mod sender;
mod time;
mod workflow;

use super::findings;
use super::history::History;
use super::row::EventKind;
use good::{Good, SEED};

/// The laws that are broken.
fn broken(good: Good) -> Vec<&'static str> {
    let history = history(good);
    let findings = findings(&history);
    // For whoever reads why a test failed.
    println!("{findings:#?}");
    findings.into_iter().map(|(law, _)| law.name).collect()
}

/// Whoever has to be asked is asked.
fn history(mut good: Good) -> History {
    good.asks_people();
    History::join(good.records, SEED)
}

#[test]
fn a_good_history_breaks_no_law() {
    let history = history(Good::new());
    let findings = findings(&history);
    let told: Vec<_> = findings
        .iter()
        .flat_map(|(law, found)| found.iter().map(|found| (law.name, found)))
        .collect();
    assert!(told.is_empty(), "{told:#?}");
    // It is not good for want of anything to judge.
    assert!(history.arrivals().count() > 20);
    assert!(
        history
            .runs
            .values()
            .any(|run| run.events.iter().any(|event| event.kind == EventKind::Reclaimed))
    );
}
