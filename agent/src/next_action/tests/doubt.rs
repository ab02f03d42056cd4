//! What becomes of calls whose outcome nobody knows.

use super::decision_of;
use crate::Agent;
use crate::Effect::{AtMostOnce, Idempotent, ReadOnly};
use crate::fixture::{agent, answered, asked, at, calls, error, journal, probe, probe_step, tool_step};
use crate::journal::{Decision, Journal, Standing, Step, StepState, ToolOutcome, Verb};

/// A turn that paid, and nobody knows whether it did.
fn doubtful(steps: impl IntoIterator<Item = Step>) -> Journal {
    let paid = tool_step(2, (1, 0), AtMostOnce, StepState::Unknown).in_doubt();
    let steps = [answered(1, 1, calls(&["pay"])), paid].into_iter().chain(steps);
    let mut journal = journal(steps.collect());
    journal.asked.clear();
    journal
}

fn decided(mut journal: Journal, verb: Verb) -> Journal {
    let mut asked = asked(&journal.steps[1]);
    asked.standing = Standing::Decided(Decision {
        verb,
        actor: "ann".to_owned(),
        words: Some("the bank says so".to_owned()),
        told: Some(ToolOutcome {
            content: "paid".to_owned(),
            ..ToolOutcome::default()
        }),
    });
    journal.asked.push(asked);
    journal
}

/// The desk, whose `pay` has this limit and is looked up by `look`.
fn with_probe(timeout_seconds: u32) -> Agent {
    let mut agent = agent();
    for tool in agent.tools.iter_mut().filter(|tool| tool.name == "pay") {
        tool.probe = Some(probe());
        tool.timeout_seconds = timeout_seconds;
    }
    agent
}

#[test]
fn people_are_asked_about_a_call_that_nobody_can_vouch_for_once_and_the_run_waits_for_them() {
    assert_eq!(decision_of(&agent(), &doubtful([])), "ask about 2");
    let mut journal = doubtful([]);
    journal.asked.push(asked(&journal.steps[1]));
    assert_eq!(decision_of(&agent(), &journal), "park for unknown_outcome");
}

#[test]
fn what_people_decide_is_done() {
    let told = |verb| decision_of(&agent(), &decided(doubtful([]), verb));
    assert_eq!(
        told(Verb::Happened),
        r#"2 succeeded with "paid" by approval about 2: happened by ann"#
    );
    assert_eq!(told(Verb::DidNotHappen), "again 2 did not happen");
    assert_eq!(
        told(Verb::GiveUp),
        "2 failed with given_up by approval about 2: give_up by ann"
    );
    assert_eq!(
        told(Verb::Reject),
        "2 failed with given_up by approval about 2: reject by ann"
    );
    assert_eq!(told(Verb::Approve), "again 2 resumed");
    assert_eq!(told(Verb::ProbeAgain), "ask about 2");
}

#[test]
fn a_decision_about_an_earlier_attempt_says_nothing_about_a_later_one() {
    let mut journal = decided(doubtful([]), Verb::DidNotHappen);
    journal.steps[1].attempt = 2;
    assert_eq!(decision_of(&agent(), &journal), "ask about 2");
}

#[test]
fn a_probe_is_asked_once_the_call_can_no_longer_be_on_its_way() {
    assert_eq!(
        decision_of(&with_probe(11), &doubtful([])),
        "park for unknown_outcome until 11"
    );
    assert_eq!(decision_of(&with_probe(10), &doubtful([])), "probe 2");
}

#[test]
fn what_a_probe_finds_is_done_and_people_are_asked_where_it_cannot_say() {
    let found = |content: &str| {
        let probed = probe_step(3, (2, 1), StepState::Succeeded, content);
        decision_of(&with_probe(1), &doubtful([probed]))
    };
    assert_eq!(found(r#"{"id": 7}"#), r#"2 succeeded with "{\"id\": 7}" by probe 3"#);
    assert_eq!(found(r#"{"id": null}"#), "again 2 did not happen");
    assert_eq!(found("oops"), "ask about 2");
    let failed = probe_step(3, (2, 1), StepState::Failed, "").failed_with(error("http_500"));
    assert_eq!(decision_of(&with_probe(1), &doubtful([failed])), "ask about 2");
}

#[test]
fn a_probe_that_is_out_is_awaited_and_one_that_a_dead_worker_left_is_asked_again() {
    let probed = |state| decision_of(&with_probe(1), &doubtful([probe_step(3, (2, 1), state, "")]));
    assert_eq!(probed(StepState::Running), "await");
    assert_eq!(probed(StepState::Interrupted), "again 3 interrupted");
}

#[test]
fn people_may_have_the_probe_asked_again_as_often_as_they_like() {
    let unclear = |seq| probe_step(seq, (2, 1), StepState::Succeeded, "oops");
    let once = decided(doubtful([unclear(3)]), Verb::ProbeAgain);
    assert_eq!(decision_of(&with_probe(1), &once), "probe 2");
    let twice = decided(doubtful([unclear(3), unclear(4)]), Verb::ProbeAgain);
    assert_eq!(decision_of(&with_probe(1), &twice), "ask about 2");
    assert_eq!(
        decision_of(&with_probe(1), &decided(twice, Verb::ProbeAgain)),
        "probe 2"
    );
}

#[test]
fn a_run_whose_time_is_over_probes_no_more_and_still_asks() {
    let mut journal = doubtful([]);
    journal.deadline = Some(at(5));
    assert_eq!(decision_of(&with_probe(1), &journal), "ask about 2");
    let late = decided(journal, Verb::DidNotHappen);
    assert_eq!(
        decision_of(&with_probe(1), &late),
        "2 failed with deadline_exceeded by the run's deadline"
    );
}

#[test]
fn a_call_that_waits_for_its_probe_does_not_hold_up_people_who_are_asked_about_another() {
    let mut journal = doubtful([tool_step(3, (1, 1), Idempotent, StepState::Unknown).in_doubt()]);
    journal.steps[0] = answered(1, 1, calls(&["pay", "book"]));
    journal.asked.push(asked(&journal.steps[2]));
    assert_eq!(
        decision_of(&with_probe(60), &journal),
        "park for unknown_outcome until 60"
    );
}

#[test]
fn a_run_that_a_person_rejected_fails_with_their_words_until_it_is_resumed() {
    let mut journal = decided(doubtful([]), Verb::Reject);
    journal.asked[0].about = None;
    assert_eq!(decision_of(&agent(), &journal), "fail rejected");
    journal.asked[0].resumed_over = true;
    assert_eq!(decision_of(&agent(), &journal), "ask about 2");
}

#[test]
fn a_rejected_run_starts_nothing_more_and_gives_up_what_waits_before_it_fails() {
    let waiting = |seq, effect| tool_step(seq, (1, 1), effect, StepState::Waiting);
    let mut journal = decided(
        doubtful([waiting(3, Idempotent).in_doubt(), waiting(4, ReadOnly)]),
        Verb::Reject,
    );
    journal.asked[0].about = None;
    assert_eq!(
        decision_of(&agent(), &journal),
        "give up 3 as retries_exhausted: rejected, give up 4 as failed: rejected"
    );
    journal.steps[3].state = StepState::Running;
    assert_eq!(decision_of(&agent(), &journal), "await");
}
