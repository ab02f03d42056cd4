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
            EventKind::Parked
            | EventKind::Woken
            | EventKind::Released
            | EventKind::Paused
            | EventKind::Resumed
            | EventKind::Started => Self::Queued,
            EventKind::Claimed
            | EventKind::Succeeded
            | EventKind::Failed
            | EventKind::Cancelled
            | EventKind::StepStarted
            | EventKind::StepSucceeded
            | EventKind::StepFailed
            | EventKind::StepRetryScheduled
            | EventKind::StepGivenBack
            | EventKind::StepUnknown
            | EventKind::StepCancelled => Self::Driven,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Driven => "while it was driven",
            Self::Queued => "in the queue",
            Self::QueuedAsSuspect => "in the queue, as a suspect",
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
    let mut stalls: Vec<Gap> = gaps(history).filter(|gap| gap.length > GAP_MAX).collect();
    stalls.sort_by_key(|gap| -gap.length);
    let finding = |gap: &Gap| {
        Finding::new(format!("nothing for {}", gap.text()))
            .run(gap.run)
            .at(gap.from)
    };
    stalls.iter().map(finding).collect()
}

/// The longest at each place where there was one.
pub(in crate::judge) fn longest(history: &History) -> Vec<Gap> {
    let places = [Place::Driven, Place::Queued, Place::QueuedAsSuspect];
    let longest = |place| {
        gaps(history)
            .filter(|gap| gap.place == place)
            .max_by_key(|gap| gap.length)
    };
    places.into_iter().filter_map(longest).collect()
}

/// The time in the queue before its first claim is no part of a run's course.
fn gaps(history: &History) -> impl Iterator<Item = Gap> {
    history.runs.values().flat_map(move |run| {
        let mut accounted = history.downtime.clone();
        accounted.extend(run.pauses(history.ended));
        accounted.extend(waits(run, history.ended));
        let first = run.events.iter().position(|event| event.kind == EventKind::Claimed);
        let events = first.map_or(&[][..], |first| &run.events[first..]);
        let next = events.iter().skip(1).map(Some).chain([None]);
        events.iter().zip(next).filter_map(move |(event, next)| {
            let is_end = matches!(
                event.kind,
                EventKind::Succeeded | EventKind::Failed | EventKind::Cancelled
            );
            let span = Span::new(event.at, next.map_or(history.ended, |next| next.at));
            (!is_end).then(|| Gap {
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

/// When it waited for something, and no longer than it had meant to.
fn waits(run: &RunHistory, end: Micros) -> Vec<Span> {
    let mut waits = Vec::new();
    let mut waiting: Option<&Event> = None;
    let wait = |event: &Event, until: Micros| Span::new(event.at, event.until.map_or(until, |due| due.min(until)));
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
            | EventKind::Resumed
            | EventKind::Reclaimed
            | EventKind::Succeeded
            | EventKind::Failed
            | EventKind::StepStarted
            | EventKind::StepSucceeded
            | EventKind::StepFailed
            | EventKind::StepRetryScheduled
            | EventKind::StepGivenBack
            | EventKind::StepUnknown
            | EventKind::StepCancelled => {}
        }
    }
    // A driver that broke once too often parks its run, and its event does not say so.
    let last = run.events.last().filter(|_| run.row.state == RunState::Waiting);
    waits.extend(waiting.or(last).map(|parked| wait(parked, end)));
    waits
}
