//! How a run stands, in words.

use engine::query::RunDetail;
use serde::Serialize;
use utoipa::ToSchema;

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// May be taken up as soon as it is due.
    Queued,
    /// A worker drives it.
    Running,
    /// Parked: it costs nothing until something wakes it.
    Waiting,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error; it may be resumed.
    Failed,
    /// Ended because somebody asked.
    Cancelled,
}

impl State {
    pub(crate) const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name; the table's constraint knows no others.
    pub(crate) fn of(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == name);
        known.unwrap_or(Self::Queued)
    }
}

/// The workflow that a run of this kind is of.
pub(crate) fn workflow(kind: &str) -> Option<String> {
    (kind != "agent").then(|| kind.to_owned())
}

/// What a run waits for. None: it is driven, or it has ended.
pub(crate) fn waits_for(run: &RunDetail) -> Option<String> {
    if run.ended_at.is_some() {
        return None;
    }
    if run.paused_at.is_some() {
        let by = run.paused_by.as_deref().unwrap_or("somebody");
        return Some(format!("somebody to resume it: it was paused by {by}"));
    }
    match State::of(&run.state) {
        State::Queued => Some(queued(run)),
        State::Waiting => Some(parked(run)),
        State::Running | State::Succeeded | State::Failed | State::Cancelled => None,
    }
}

fn queued(run: &RunDetail) -> String {
    let when = match run.due_at.filter(|due| *due > run.created_at) {
        Some(due) => format!("from {} on ", due.format("%Y-%m-%d %H:%M:%S UTC")),
        None => String::new(),
    };
    if run.drivable {
        return format!("{when}a worker that is free");
    }
    let what = match workflow(&run.kind) {
        Some(workflow) => format!("workflow {workflow}"),
        None => "all the functions of its agent".to_owned(),
    };
    format!(
        "{when}a worker that can drive it: none that is alive takes from queue {:?} and has {what}",
        run.queue
    )
}

fn parked(run: &RunDetail) -> String {
    let until = run
        .due_at
        .map(|due| format!(" until {}", due.format("%Y-%m-%d %H:%M:%S UTC")))
        .unwrap_or_default();
    let reason = run.wait_reason.as_deref().unwrap_or_default();
    match run.waiting_for.as_deref().unwrap_or_default() {
        "approval" => format!("a person{until}: {}", why(reason)),
        "timer" if reason == "retry" => format!("its next try{until}"),
        "timer" if reason == "timer" => format!("a timer or a step's next try{until}"),
        "signal" if !run.awaited_signals.is_empty() => {
            format!("the signal {}{until}", run.awaited_signals.join(" or "))
        }
        "child" if reason == "child" => format!("a child's end{until}"),
        waiting_for => format!("a {waiting_for}{until}: {}", why(reason)),
    }
}

fn why(reason: &str) -> &str {
    match reason {
        "unknown_outcome" => "nobody can vouch for the outcome of a call that must not be made twice",
        "retries_exhausted" => "a call was tried as often as allowed, and a person must say how it goes on",
        "unknown_stop_reason" => "the model stopped for a reason that this release does not know",
        "refusal" => "the model refused",
        "spend_cap" => "the provider's spend cap is reached",
        "crashes" => "its workers died again and again",
        other => other,
    }
}
