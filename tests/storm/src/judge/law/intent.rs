//! Intent first: what leaves a process stands in the database by then, or its key follows from where it stands.

use super::{Finding, seconds};
use crate::judge::history::{Arrival, History, Planned};

/// The ledger and the database share one clock, and an intent's time is that of its transaction's begin: no tolerance.
pub(super) fn intent(history: &History) -> Vec<Finding> {
    let broken = |arrival| {
        let what = missing(history, arrival)?;
        let finding = Finding::new(format!("call {}: {what}", arrival.number)).effect(&arrival.effect);
        let run = arrival.key.as_ref().and_then(|key| history.keys.get(key));
        Some(
            run.into_iter()
                .fold(finding.at(arrival.at), |finding, (run, _)| finding.run(*run)),
        )
    };
    history.arrivals().filter_map(broken).collect()
}

fn missing(history: &History, arrival: &Arrival) -> Option<String> {
    let worker = arrival.worker.as_deref().unwrap_or("nobody");
    let (Some(key), Some(number)) = (&arrival.key, arrival.attempt) else {
        return Some(format!("{worker} made it without a key or the number of an attempt"));
    };
    let effect = history.effects.get(&arrival.effect);
    let planned = effect.and_then(|effect| effect.planned.as_ref());
    if let Some(due) = planned.and_then(|planned| planned.key.as_ref())
        && due != key
    {
        return Some(format!("{worker} sent the key {key}, and where it stands it has {due}"));
    }
    // Its result, or its first failure, is the first that is recorded of it; from then on it is recorded like any other.
    if number == 1 && planned.is_some_and(Planned::begins_unrecorded) {
        return None;
    }
    let Some((run, step)) = history.keys.get(key) else {
        return Some(format!("no step has the key {key} that {worker} sent"));
    };
    let run = history.runs.get(run)?;
    let recorded = run
        .attempts_of(*step)
        .find(|attempt| u32::try_from(attempt.attempt) == Ok(number));
    let Some(recorded) = recorded else {
        return Some(format!("no intent of attempt {number} of {key}, which {worker} made"));
    };
    let early = recorded.started_at - arrival.at;
    (early > 0).then(|| {
        format!(
            "{worker} made attempt {number} of {key} {} before its intent",
            seconds(early)
        )
    })
}
