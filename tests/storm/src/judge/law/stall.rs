//! A run that could go on goes on: between two of its events lies no long time for which nothing accounts.

use super::{Finding, SUSPECT_FROM, seconds};
use crate::judge::history::{History, RunHistory};
use crate::judge::row::{Event, EventKind, RunState};
use crate::judge::span::Span;
use crate::record::Micros;
use uuid::Uuid;

/// A lost worker costs its run four seconds, a retry two, a model call five, and the rest is for a run that meets
/// several of these in a row, on a machine that has much to do.
const GAP_MAX: Micros = 20_000_000;

/// The driver keeps more runs open than the workers have room for, so that new ones wait their turn; in a healthy storm
/// for 7 s at most.
const UNCLAIMED_MAX: Micros = 30_000_000;

/// The longest sleep of a workflow is 2.5 s and the longest `retry-after` 3 s; a retry waits for 1 s and a half.
const PARKED_MAX: Micros = 5_000_000;

/// A time without an event.
#[derive(Debug, Clone)]
pub(in crate::judge) struct Gap {
    pub(in crate::judge) run: Uuid,
    pub(in crate::judge) from: Micros,
    /// Without the time that is accounted for.
    pub(in crate::judge) length: Micros,
    /// The number of the event before it.
    pub(in crate::judge) after: i32,
    /// Nothing if nothing came before the storm's end.
    pub(in crate::judge) before: Option<i32>,
    pub(in crate::judge) place: Place,
}

/// Where a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::judge) enum Place {
    /// Nobody had claimed it yet.
    Unclaimed,
    /// A worker drove it.
    Driven,
    Queued,
    /// Among those that are driven apart from others.
    QueuedAsSuspect,
}

impl Place {
    const fn after(event: &Event) -> Self {
        match event.kind {
            EventKind::Reclaimed => match event.crashes {
                Some(SUSPECT_FROM..) => Self::QueuedAsSuspect,
                Some(_) | None => Self::Queued,
            },
            EventKind::Parked | EventKind::Woken | EventKind::Released | EventKind::Paused | EventKind::Resumed => {
                Self::Queued
            }
            EventKind::Started => Self::Unclaimed,
            EventKind::Claimed
            | EventKind::Succeeded
            | EventKind::Failed
            | EventKind::Cancelled
            | EventKind::StepStarted
            | EventKind::StepSucceeded
            | EventKind::StepFailed
            | EventKind::StepRetryScheduled
            | EventKind::StepGivenBack
            | EventKind::StepHeldBack
            | EventKind::StepUnknown
            | EventKind::StepCancelled
            | EventKind::ApprovalOpened => Self::Driven,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Unclaimed => "before its first claim",
            Self::Driven => "while it was driven",
            Self::Queued => "in the queue",
            Self::QueuedAsSuspect => "in the queue, as a suspect",
        }
    }

    const fn bound(self) -> Micros {
        match self {
            Self::Unclaimed => UNCLAIMED_MAX,
            Self::Driven | Self::Queued | Self::QueuedAsSuspect => GAP_MAX,
        }
    }
}

impl Gap {
    /// For people.
    pub(in crate::judge) fn text(&self) -> String {
        let until = self
            .before
            .map_or_else(|| "the end".to_owned(), |event| format!("event {event}"));
        let place = self.place.as_str();
        format!("{} from event {} to {until}, {place}", seconds(self.length), self.after)
    }
}

pub(super) fn stall(history: &History) -> Vec<Finding> {
    let mut stalls: Vec<Gap> = gaps(history)
        .filter(|gap| gap.length > history.slowed(gap.place.bound()))
        .collect();
    stalls.sort_by_key(|gap| -gap.length);
    let finding = |gap: &Gap| {
        Finding::new(format!("nothing for {}", gap.text()))
            .run(gap.run)
            .at(gap.from)
    };
    let parked = history.runs.values().flat_map(|run| {
        let late = run.events.iter().filter_map(|event| {
            let length = event.until? - event.at;
            (is_timer(event) && length > PARKED_MAX).then_some((event, length))
        });
        late.map(|(event, length)| {
            let what = format!("parked for a timer of {}, event {}", seconds(length), event.seq);
            Finding::new(what).run(run.row.id).at(event.at)
        })
    });
    stalls.iter().map(finding).chain(parked).collect()
}

/// Whether the run is to go on by itself.
fn is_timer(event: &Event) -> bool {
    event.kind == EventKind::Parked && event.parked_for.as_deref() == Some("timer")
}

/// The longest at each place where there was one.
pub(in crate::judge) fn longest(history: &History) -> Vec<Gap> {
    let places = [Place::Unclaimed, Place::Driven, Place::Queued, Place::QueuedAsSuspect];
    let longest = |place| {
        gaps(history)
            .filter(|gap| gap.place == place)
            .max_by_key(|gap| gap.length)
    };
    places.into_iter().filter_map(longest).collect()
}

fn gaps(history: &History) -> impl Iterator<Item = Gap> {
    history.runs.values().flat_map(move |run| {
        let mut accounted = history.downtime.clone();
        accounted.extend(run.pauses(history.ended));
        accounted.extend(waits(run, history.ended));
        // What people tell of a run that has ended is no part of its way.
        let end = run
            .events
            .iter()
            .rposition(is_end)
            .filter(|_| run.row.ended_at.is_some());
        let all = end.map_or(run.events.as_slice(), |end| &run.events[..=end]);
        // What comes before the first claim is one time, whatever is done to the run meanwhile.
        let first = all.iter().position(|event| event.kind == EventKind::Claimed);
        let start = all.first().filter(|_| first != Some(0));
        let events = first.map_or(&[][..], |first| &all[first..]);
        let end = all.last().filter(|_| first.is_none()).filter(|event| is_end(event));
        let before = start.map(|start| (start, end.or(events.first())));
        let after = events.iter().zip(events.iter().skip(1).map(Some).chain([None]));
        before.into_iter().chain(after).filter_map(move |(event, next)| {
            let span = Span::new(event.at, next.map_or(history.ended, |next| next.at));
            (!is_end(event)).then(|| Gap {
                run: run.row.id,
                from: event.at,
                length: span.outside(accounted.iter().copied()),
                after: event.seq,
                before: next.map(|next| next.seq),
                place: Place::after(event),
            })
        })
    })
}

const fn is_end(event: &Event) -> bool {
    matches!(
        event.kind,
        EventKind::Succeeded | EventKind::Failed | EventKind::Cancelled
    )
}

/// When it waited for something, and no longer than it had meant to.
fn waits(run: &RunHistory, end: Micros) -> Vec<Span> {
    let mut waits = Vec::new();
    let mut waiting: Option<&Event> = None;
    let wait = |event: &Event, until: Micros| {
        let due = event.until.map_or(until, |due| due.min(until));
        let longest = if is_timer(event) { event.at + PARKED_MAX } else { due };
        Span::new(event.at, due.min(longest))
    };
    for event in &run.events {
        let quarantined = event.quarantined == Some(true);
        match event.kind {
            EventKind::Parked => waiting = Some(event),
            EventKind::Reclaimed if quarantined => waiting = Some(event),
            EventKind::Woken | EventKind::Claimed | EventKind::Cancelled => {
                waits.extend(waiting.take().map(|parked| wait(parked, event.at)));
            }
            EventKind::Resumed if event.came_from.as_deref() != Some("paused") => {
                waits.extend(waiting.take().map(|parked| wait(parked, event.at)));
            }
            EventKind::Started
            | EventKind::Released
            | EventKind::Paused
            | EventKind::ApprovalOpened
            | EventKind::Resumed
            | EventKind::Reclaimed
            | EventKind::Succeeded
            | EventKind::Failed
            | EventKind::StepStarted
            | EventKind::StepSucceeded
            | EventKind::StepFailed
            | EventKind::StepRetryScheduled
            | EventKind::StepGivenBack
            | EventKind::StepHeldBack
            | EventKind::StepUnknown
            | EventKind::StepCancelled => {}
        }
    }
    // A driver that broke once too often parks its run, and its event does not say so.
    let last = run.events.last().filter(|_| run.row.state == RunState::Waiting);
    waits.extend(waiting.or(last).map(|parked| wait(parked, end)));
    waits
}
