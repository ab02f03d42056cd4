//! Leases, times, bounds, what the model is told, people's words and receipts.

use super::broken;
use super::effects::under_way;
use super::good::{CANCELLED, Good, RECLAIMED, S, SURVIVOR, VICTIM, id, open_approval};
use super::time::ends;
use crate::judge::row::{Approval, EventKind, Receipt};
use crate::record::{Asked, Decision, Declared, Deed, Door, DriverRecord, Exchange, Outcome, Shown, Told};

#[test]
fn what_is_taken_back_before_its_lease_is_over_is_found() {
    let mut good = Good::new();
    let taken = good.events_of(RECLAIMED, EventKind::Reclaimed).next().unwrap().at;
    let lease = good.records.workers.iter_mut().find(|worker| worker.id == VICTIM.0);
    lease.unwrap().lease_expires_at = taken + S + 1;
    let mut drained = good.clone();
    assert_eq!(broken(good), ["lease"]);

    drained.did(Deed::WorkerDrained, Some(VICTIM.1));
    assert_eq!(broken(drained), [""; 0]);
}

/// A run that is parked for two seconds, and woken by the time after so long.
fn parked_for(slept: i64) -> Good {
    let mut good = Good::new();
    let number = CANCELLED + 1;
    good.starts(number);
    good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
    let due = good.now + 2 * S;
    let parked = good.event(number, EventKind::Parked, Some(SURVIVOR.0));
    parked.parked_for = Some("timer".to_owned());
    parked.until = Some(due);
    good.now += slept;
    good.event(number, EventKind::Woken, None);
    good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
    ends(&mut good, number);
    good
}

#[test]
fn a_run_that_is_woken_before_its_time_is_found() {
    assert_eq!(broken(parked_for(S)), ["timers"]);
    assert_eq!(broken(parked_for(2 * S)), [""; 0]);

    // A person may wake it at any time.
    let mut good = parked_for(S);
    good.events_of(CANCELLED + 1, EventKind::Woken).next().unwrap().by = Some("decision".to_owned());
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn an_attempt_before_its_time_is_found() {
    for (wait, expected) in [(0, vec!["timers"]), (S, vec![])] {
        let mut good = Good::new();
        let (number, seq) = under_way(&mut good, Declared::ReadOnly);
        good.step_event(number, EventKind::StepRetryScheduled, seq);
        good.records.events.last_mut().unwrap().due_at = Some(good.now + S);
        good.now += wait;
        good.again(number, seq);
        good.arrives(number, seq);
        good.step_event(number, EventKind::StepCancelled, seq);
        is_cancelled(&mut good, number);
        assert_eq!(broken(good), expected);
    }
}

/// The run ends by a cancel, whatever it waited for.
fn is_cancelled(good: &mut Good, number: u64) {
    let run = good.run(number);
    run.waiting_for = None;
    run.wait_reason = None;
    ends(good, number);
}

#[test]
fn a_call_that_is_tried_too_often_is_found() {
    for (retries, expected) in [(6, vec!["caps"]), (5, vec![])] {
        let mut good = Good::new();
        let (number, seq) = under_way(&mut good, Declared::ReadOnly);
        for _ in 0..retries {
            good.step_event(number, EventKind::StepRetryScheduled, seq);
            good.again(number, seq);
            good.arrives(number, seq);
        }
        good.step_event(number, EventKind::StepCancelled, seq);
        is_cancelled(&mut good, number);
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_lost_worker_that_is_not_counted_is_found() {
    for (counted, expected) in [(1, vec!["caps"]), (2, vec![])] {
        let mut good = Good::new();
        let number = CANCELLED + 1;
        good.starts(number);
        for crashes in [1, counted] {
            good.event(number, EventKind::Claimed, Some(VICTIM.0));
            good.event(number, EventKind::Reclaimed, Some(VICTIM.0)).crashes = Some(crashes);
        }
        good.event(number, EventKind::Claimed, Some(SURVIVOR.0));
        ends(&mut good, number);
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_model_that_is_told_the_wrong_thing_is_found() {
    let told = |id: &str, effect: Option<&str>| Told {
        id: id.to_owned(),
        effect: effect.map(ToOwned::to_owned),
    };
    let asked = vec![told("a", Some("r0-t1-c0")), told("b", Some("r0-t1-c1"))];
    for (answered, expected) in [
        (asked.clone(), vec![]),
        // An error has no receipt.
        (vec![asked[0].clone(), told("b", None)], vec![]),
        (vec![asked[1].clone(), asked[0].clone()], vec!["answered"]),
        (vec![asked[0].clone()], vec!["answered"]),
        (vec![told("a", Some("r0-t1-c1")), asked[1].clone()], vec!["answered"]),
    ] {
        let mut good = Good::new();
        let exchange = Exchange {
            asked: asked.clone(),
            told: answered,
        };
        good.records.shown.push(Shown {
            run: 0,
            exchanges: vec![exchange],
        });
        assert_eq!(broken(good), expected);
    }
}

/// A question about a call that is over, decided like this.
fn decided(good: &mut Good, verb: &str) -> Approval {
    let (number, seq) = good.tool(Declared::Idempotent);
    let step = good.step(number, seq).clone();
    Approval {
        state: "decided".to_owned(),
        verb: Some(verb.to_owned()),
        decided_at: step.ended_at,
        ..open_approval(&step)
    }
}

fn says(good: &mut Good, approval: &Approval, verb: &str) {
    let at = good.tick();
    good.records.driver.push(DriverRecord {
        at,
        asked: Asked::Decide,
        run: 0,
        door: Door::Http,
        signal: None,
        decision: Some(Decision {
            approval: approval.id.to_string(),
            verb: verb.to_owned(),
        }),
        receipt: None,
        outcome: Outcome::Acknowledged(approval.run_id.to_string()),
    });
}

#[test]
fn a_word_that_counts_twice_or_not_at_all_is_found() {
    for (words, expected) in [
        (vec!["happened"], vec![]),
        (vec!["give_up"], vec!["decisions"]),
        (vec!["happened", "happened"], vec!["decisions"]),
    ] {
        let mut good = Good::new();
        let approval = decided(&mut good, "happened");
        for word in words {
            says(&mut good, &approval, word);
        }
        good.records.approvals.push(approval);
        assert_eq!(broken(good), expected);
    }
    // The question itself is gone.
    let mut good = Good::new();
    let approval = decided(&mut good, "happened");
    says(&mut good, &approval, "happened");
    assert_eq!(broken(good), ["decisions"]);
}

#[test]
fn a_word_that_does_not_bind_is_found() {
    let mut good = Good::new();
    let approval = decided(&mut good, "did_not_happen");
    good.records.approvals.push(approval);
    assert_eq!(broken(good), ["decisions"]);
}

#[test]
fn a_word_that_comes_too_early_is_found() {
    for (early, expected) in [(3 * S, vec!["decisions"]), (S, vec![])] {
        let mut good = Good::new();
        let mut approval = decided(&mut good, "did_not_happen");
        approval.attempt = Some(0);
        approval.settles_at = approval.decided_at.map(|at| at + early);
        good.records.approvals.push(approval);
        assert_eq!(broken(good), expected);
    }
}

#[test]
fn a_doubt_that_nobody_is_asked_about_is_found() {
    let mut good = Good::new();
    good.asks_people();
    good.records.approvals[0].state = "withdrawn".to_owned();
    assert_eq!(broken(good), ["decisions"]);
}

/// A request over SQL with a row beside it, as the driver and the database tell of it.
fn beside(good: &mut Good, outcome: impl Fn(String) -> Outcome, is_there: bool) {
    let run = id(RECLAIMED).to_string();
    good.asked(Asked::Start, RECLAIMED, outcome(run.clone()));
    good.records.driver.last_mut().unwrap().receipt = Some("a-receipt".to_owned());
    if is_there {
        good.records.receipts.push(Receipt {
            id: "a-receipt".to_owned(),
            asked: Asked::Start,
            run,
            of: None,
        });
    }
}

#[test]
fn a_transaction_that_is_there_by_half_is_found() {
    let lost = |_| Outcome::Indeterminate("lost".to_owned());
    for (is_there, expected) in [(true, vec![]), (false, vec!["receipts"])] {
        let mut good = Good::new();
        beside(&mut good, Outcome::Acknowledged, is_there);
        assert_eq!(broken(good), expected);
    }
    for (is_there, expected) in [(false, vec![]), (true, vec!["receipts"])] {
        let mut good = Good::new();
        beside(&mut good, Outcome::RolledBack, is_there);
        assert_eq!(broken(good), expected);
    }
    for is_there in [true, false] {
        let mut good = Good::new();
        beside(&mut good, lost, is_there);
        assert_eq!(broken(good), [""; 0]);
    }
}

#[test]
fn a_row_beside_a_signal_that_never_came_is_found() {
    let mut good = Good::new();
    beside(&mut good, Outcome::Acknowledged, true);
    let receipt = &mut good.records.receipts[0];
    receipt.asked = Asked::Signal;
    receipt.of = Some("no-signal".to_owned());
    assert_eq!(broken(good), ["receipts"]);
}

#[test]
fn a_row_that_nobody_wrote_is_found() {
    let mut good = Good::new();
    beside(&mut good, Outcome::Acknowledged, true);
    good.records.driver.last_mut().unwrap().receipt = None;
    assert_eq!(broken(good), ["receipts"]);
}
