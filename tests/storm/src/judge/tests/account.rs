//! What is printed.

use super::good::{Good, SURVIVOR};
use super::history;
use crate::judge::account::{Account, Verdict, last_line};
use crate::judge::findings;
use crate::judge::row::RunState;
use crate::record::Deed;

#[test]
fn a_finding_is_told_with_its_law_and_place() {
    let mut good = Good::new();
    good.did(Deed::WorkerEnded, Some(SURVIVOR.1));
    let history = history(good);
    let findings = findings(&history);
    let account = Account::of(&history);
    let text = account.text(&findings);
    assert!(
        text.contains("workers: 1 · no worker ends unless it is killed"),
        "{text}"
    );
    assert!(text.contains("storm-2-1 ended by itself"), "{text}");
    let verdict = account.verdict(&findings);
    assert_eq!(verdict["held"], false);
    assert_eq!(verdict["findings"]["workers"].as_array().unwrap().len(), 1);
    let ended = history.runs.values().filter(|run| run.row.state == RunState::Succeeded);
    assert_eq!(verdict["counts"]["runs"]["succeeded"], ended.count());
}

#[test]
fn only_so_many_findings_of_a_law_are_shown() {
    let mut good = Good::new();
    for _ in 0..13 {
        good.did(Deed::WorkerEnded, Some(SURVIVOR.1));
    }
    let history = history(good);
    let findings = findings(&history);
    let text = Account::of(&history).text(&findings);
    assert_eq!(text.matches("ended by itself").count(), 10);
    assert!(text.contains("and 3 more"), "{text}");
}

#[test]
fn the_last_line_is_the_verdict() {
    assert_eq!(last_line(7, Verdict::Held), "storm: held · seed 7");
    assert_eq!(last_line(7, Verdict::Broken), "storm: BROKEN · seed 7");
}

#[test]
fn a_storm_that_was_too_short_to_prove_anything_says_so() {
    let good = history(Good::new());
    let verdict = Verdict::of(&good, &findings(&good));
    assert_eq!(
        last_line(7, verdict),
        "storm: held · seed 7 · too short to prove anything"
    );
}
