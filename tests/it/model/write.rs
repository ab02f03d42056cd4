//! Writes of holders: from what was drawn to transitions, and by which way they are written.

use super::act::{Held, Pair, code, same};
use super::memory::told;
use super::operation::{Begin, Change, Entry, NAMES, Next, Way};
use super::rows::{Time, beginning};
use chrono::{DateTime, TimeDelta, Utc};
use engine::recorder::Answer;
use engine::{Claim, Ending, EventWrite, Place, Recorded, RunId, StepBegin, StepChange, StepWrites, Then, Transition};
use proptest::test_runner::TestCaseError;
use serde_json::json;
use std::sync::Arc;

/// One for each run that is meant.
pub(super) fn transitions(pair: &Pair<'_>, entries: &[Entry]) -> Vec<Transition> {
    let mut transitions: Vec<Transition> = Vec::new();
    for entry in entries {
        if let Some(claim) = pair.claim_of(entry.hold)
            && transitions.iter().all(|earlier| earlier.claim.run != claim.run)
        {
            transitions.push(transition(pair, entry, claim));
        }
    }
    transitions
}

fn transition(pair: &Pair<'_>, entry: &Entry, claim: Claim) -> Transition {
    let run = pair.memory.run(claim.run.0);
    let mut events = Vec::new();
    let mut log = |kind, step_seq| {
        let seq = pair.memory.last_event(run.id) + 1 + i32::try_from(events.len()).expect("few");
        events.push(EventWrite {
            seq,
            kind,
            step_seq,
            data: Some("{}".to_owned()),
        });
    };
    let at = |seconds: Option<i64>| seconds.map(|seconds| beginning() + TimeDelta::seconds(pair.memory.now + seconds));
    let changed: Vec<_> = entry
        .change
        .iter()
        .filter_map(|wish| change(pair, wish, claim))
        .collect();
    for change in &changed {
        log("step.changed", Some(change.seq));
    }
    let begun: Vec<_> = entry.begin.iter().map(|wish| begin(pair, wish, claim)).collect();
    for step in &begun {
        log("step.started", Some(step.seq));
    }
    let then = then(entry.next, run.wakes, at);
    match &then {
        Then::GoOn | Then::GoOnUnwoken { .. } => {}
        Then::Park { .. } => log("run.parked", None),
        Then::End(ending) => log(ending.event(0).kind, None),
    }
    Transition {
        claim,
        parent: run.parent_id.map(RunId),
        writes: StepWrites {
            begun,
            changed,
            events,
            asks: Vec::new(),
            has_intent: entry.has_intent,
            has_result: entry.has_result,
        },
        then,
    }
}

fn then(next: Next, wakes: i64, at: impl Fn(Option<i64>) -> Option<DateTime<Utc>>) -> Then {
    let seen = |stale| wakes - i64::from(stale);
    match next {
        Next::GoOn => Then::GoOn,
        Next::GoOnUnwoken { stale } => Then::GoOnUnwoken { wakes: seen(stale) },
        Next::Park {
            stale,
            waiting_for,
            until,
        } => Then::Park {
            wakes: seen(stale),
            waiting_for: waiting_for.to_owned(),
            reason: "as drawn".to_owned(),
            until: at(until),
        },
        Next::Succeed => Then::End(Ending::Succeeded("7".to_owned())),
        Next::Fail => Then::End(Ending::Failed(r#"{"code":"broken"}"#.to_owned())),
        Next::Cancel => Then::End(Ending::Cancelled),
    }
}

fn begin(pair: &Pair<'_>, wish: &Begin, claim: Claim) -> StepBegin {
    let seq = 1 + i32::try_from(pair.memory.steps(claim.run.0).count()).expect("few");
    let place = match wish.kind {
        "tool" => Place::Turn {
            turn: 1,
            call_index: seq - 1,
        },
        _ => Place::Identity(format!("{}#{seq}", wish.kind)),
    };
    let children = pair
        .memory
        .tables
        .run
        .iter()
        .filter(|run| run.parent_id == Some(claim.run.0));
    let child = children.map(|run| run.id).nth(wish.name);
    let request = match wish.kind {
        "child" => json!({"run_id": child}),
        _ => json!({"of": seq}),
    };
    let name = match wish.kind {
        "signal" => NAMES[wish.name],
        _ => "pay",
    };
    StepBegin {
        seq,
        place,
        kind: wish.kind,
        name: name.to_owned(),
        call_id: (wish.kind == "tool").then(|| format!("toolu_{seq}")),
        state: wish.state,
        effect: wish.effect,
        key: format!("{} {seq}", claim.run),
        attempt: i32::from(wish.state != "failed"),
        attempts_max: 3,
        maybe_applied: wish.maybe_applied,
        due_at: None,
        replaces_seq: (wish.name == 1 && seq > 1).then_some(seq - 1),
        request_digest: engine::payload::digest(&request.to_string()),
        request: Some(request.to_string()),
        result: (wish.state == "succeeded").then(|| "1".to_owned()),
        error: (wish.state == "failed").then(|| r#"{"code":"no"}"#.to_owned()),
    }
}

fn change(pair: &Pair<'_>, wish: &Change, claim: Claim) -> Option<StepChange> {
    let steps: Vec<_> = pair.memory.steps(claim.run.0).collect();
    let back = wish.step.checked_rem(steps.len())?;
    let step = steps.get(steps.len() - 1 - back)?;
    Some(StepChange {
        seq: step.seq,
        state: wish.state,
        attempt: step.attempt + i32::from(wish.again),
        attempts_max: step.attempts_max + i32::from(wish.fresh_budget),
        maybe_applied: wish.maybe_applied,
        due_at: wish
            .due
            .map(|seconds| beginning() + TimeDelta::seconds(pair.memory.now + seconds)),
        result: (wish.state == "succeeded").then(|| "2".to_owned()),
        error: (wish.state != "succeeded").then(|| r#"{"code":"late"}"#.to_owned()),
        fresh_budget: wish.fresh_budget,
        evidence: wish.evidence.then(|| r#"{"status":500}"#.to_owned()),
    })
}

/// Writes them, and compares what became of each.
pub(super) async fn write(pair: &mut Pair<'_>, way: Way, transitions: Vec<Transition>) -> Held {
    let (ends, quiet): (Vec<_>, Vec<_>) = transitions
        .into_iter()
        .partition(|transition| told(transition).is_some());
    let now = pair.memory.now();
    match way {
        Way::Batch => batch(pair, &quiet).await?,
        Way::Gathered => gathered(pair, quiet).await?,
        Way::Alone => {
            for transition in &quiet {
                let recorded = code(pair.engine.record_alone(transition).await);
                same(Ok(pair.memory.record(transition, now)), recorded)?;
            }
        }
        Way::Transaction => {
            for transition in &quiet {
                let open = pair.engine.begin().await.expect("a transaction begins");
                let recorded = code(open.commit(transition).await);
                same(Ok(pair.memory.record(transition, now)), recorded)?;
            }
        }
    }
    // Whoever tells a parent has a statement of its own, and the next one finds the parent changed.
    for transition in ends {
        pair.memory.begin();
        if way == Way::Gathered {
            let at = Time::by_database(0);
            let model = pair.memory.record_and_tell(&transition, at);
            same(Ok(model), answered(pair.recorder.write(Arc::new(transition)).await))?;
        } else {
            let recorded = code(pair.engine.record_alone(&transition).await);
            same(Ok(pair.memory.record_and_tell(&transition, now)), recorded)?;
        }
    }
    Ok(())
}

async fn batch(pair: &mut Pair<'_>, transitions: &[Transition]) -> Held {
    let now = pair.memory.now();
    let all: Vec<&Transition> = transitions.iter().collect();
    let recorded = code(pair.engine.record_batch(&all).await);
    let model = transitions
        .iter()
        .map(|transition| match pair.memory.record(transition, now) {
            // A batch does not say why it wrote nothing.
            Recorded::ClaimLost => None,
            recorded @ (Recorded::Now(_) | Recorded::Refused(_)) => Some(recorded),
        });
    same(Ok(model.collect()), recorded)
}

/// All at once: a recorder makes batches of them. It has connections of its own, and the database's clock.
async fn gathered(pair: &mut Pair<'_>, transitions: Vec<Transition>) -> Held {
    let at = Time::by_database(0);
    let model: Vec<_> = transitions
        .iter()
        .map(|transition| Ok(pair.memory.record(transition, at)))
        .collect();
    let written = transitions
        .into_iter()
        .map(|transition| pair.recorder.write(Arc::new(transition)));
    let answers = futures_util::future::join_all(written).await;
    same(model, answers.into_iter().map(answered).collect())
}

fn answered(answer: Answer) -> Result<Recorded, String> {
    match answer {
        Answer::Recorded(recorded) => Ok(recorded),
        Answer::Unknown(why) => Err(why),
        Answer::Impossible(error) => code(Err(error)),
    }
}

/// What the model and the engine disagree about, with the operation after which they do.
pub(super) fn at(place: usize, error: TestCaseError) -> TestCaseError {
    match error {
        TestCaseError::Fail(reason) => TestCaseError::fail(format!("after operation {place}:\n{reason}")),
        TestCaseError::Reject(reason) => TestCaseError::Reject(reason),
    }
}
