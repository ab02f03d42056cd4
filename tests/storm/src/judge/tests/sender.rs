//! A call comes from a worker that holds its run.

use super::broken;
use super::good::{Good, RECLAIMED, S, SURVIVOR, VICTIM, id};
use crate::record::{Declared, Deed, LedgerRecord, Micros};

/// The call of a step comes again so long after its run's end, from the same worker.
fn comes_after_the_end(good: &mut Good, late: Micros) {
    let (number, seq) = good.tool(Declared::Idempotent);
    let end = good.run(number).ended_at.unwrap();
    let arrival = good.arrives(number, seq);
    if let LedgerRecord::Arrival { at, worker, .. } = good.arrival(arrival) {
        *at = end + late;
        *worker = Some(SURVIVOR.1.to_owned());
    }
    good.records.taken.at = end + late;
}

#[test]
fn a_call_that_comes_after_its_runs_end_is_found() {
    let mut good = Good::new();
    comes_after_the_end(&mut good, 2 * S);
    assert_eq!(broken(good), ["sender"]);

    let mut good = Good::new();
    comes_after_the_end(&mut good, S / 2);
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_worker_that_was_stopped_or_killed_may_send_late() {
    for deed in [Deed::WorkerContinued, Deed::WorkerKilled] {
        let mut good = Good::new();
        comes_after_the_end(&mut good, 4 * S);
        good.did(deed, Some(SURVIVOR.1));
        let last = good.records.nemesis.last_mut().unwrap();
        last.at -= 2 * S;
        good.records.taken.at = good.now;
        assert_eq!(broken(good), [""; 0], "{deed:?}");
    }
}

#[test]
fn a_call_that_comes_after_a_later_claim_is_found() {
    let calls = |good: &mut Good| {
        // By the worker whose run was taken back two seconds before.
        let own = |record: &&mut LedgerRecord| matches!(record, LedgerRecord::Arrival { run, .. } if *run == Some(id(RECLAIMED).to_string()));
        let call = good.records.ledger.iter_mut().rfind(own).unwrap();
        if let LedgerRecord::Arrival { at, worker, .. } = call {
            *at += 2 * S;
            *worker = Some(VICTIM.1.to_owned());
        }
    };
    let mut good = Good::new();
    calls(&mut good);
    assert_eq!(broken(good), [""; 0], "it was killed");

    let mut good = Good::new();
    calls(&mut good);
    good.records.nemesis.retain(|record| record.deed != Deed::WorkerKilled);
    assert_eq!(broken(good), ["sender"]);
}

#[test]
fn a_call_of_a_worker_that_never_claimed_the_run_is_found() {
    let mut good = Good::new();
    let (number, seq) = good.tool(Declared::Idempotent);
    let arrival = good.arrives_in_time(number, seq);
    good.records.nemesis.retain(|record| record.deed != Deed::WorkerKilled);
    if let LedgerRecord::Arrival { worker, .. } = good.arrival(arrival) {
        *worker = Some("storm-9-9".to_owned());
    }
    assert_eq!(broken(good), ["sender"]);
}
