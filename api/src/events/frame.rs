//! Events as they are written on the wire, once for all who follow the same run.

use crate::limits;
use axum::body::Bytes;
use engine::RunId;
use engine::query::NewEvent;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Neighbouring events of one run. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    text: Bytes,
    /// Each event's number and where it begins in the text.
    events: std::sync::Arc<[(i32, usize)]>,
    /// The state in which the last of them left the run, where it ended it.
    ended: Option<&'static str>,
}

#[derive(Serialize)]
struct Data<'a> {
    seq: i32,
    at: chrono::DateTime<chrono::Utc>,
    kind: &'a str,
    step_seq: Option<i32>,
    worker: Option<&'a str>,
    data: Option<&'a RawValue>,
}

impl Batch {
    /// Rows of one run, in order.
    pub(crate) fn of(rows: &[NewEvent]) -> Self {
        let mut text = Vec::new();
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            events.push((row.seq, text.len()));
            write(&mut text, row);
        }
        Self {
            text: text.into(),
            events: events.into(),
            ended: rows.last().and_then(|row| ending(&row.kind)),
        }
    }

    /// The number of its last event.
    pub(crate) fn last(&self) -> Option<i32> {
        self.events.last().map(|(seq, _)| *seq)
    }

    /// Whether the statement that read it may have left some.
    pub(crate) fn is_full(&self) -> bool {
        i64::try_from(self.events.len()).is_ok_and(|events| events >= limits::EVENTS_PER_READ)
    }

    /// What a follower has not seen that saw everything up to this number. None: it has seen all of it.
    pub(crate) fn after(&self, seen: i32) -> Option<Bytes> {
        let (_, start) = self.events.iter().find(|(seq, _)| *seq > seen)?;
        Some(self.text.slice(start..))
    }

    /// The state in which its last event left the run, where it ended it.
    pub(crate) const fn ended(&self) -> Option<&'static str> {
        self.ended
    }
}

/// The rows of many runs, run by run.
pub(crate) fn by_run(rows: &[NewEvent]) -> impl Iterator<Item = (RunId, &[NewEvent])> {
    rows.chunk_by(|one, next| one.run_id == next.run_id)
        .filter_map(|rows| Some((rows.first()?.run_id, rows)))
}

fn write(text: &mut Vec<u8>, row: &NewEvent) {
    let data = Data {
        seq: row.seq,
        at: row.at,
        kind: &row.kind,
        step_seq: row.step_seq,
        worker: row.worker.as_deref(),
        data: row.data.as_ref().map(|data| &*data.0),
    };
    text.extend_from_slice(format!("id: {}\nevent: {}\ndata: ", row.seq, row.kind).as_bytes());
    // JSON on one line, as the database writes it: an event is not torn.
    let _ = serde_json::to_writer(&mut *text, &data);
    text.extend_from_slice(b"\n\n");
}

/// The last word of a stream: the run has ended in this state.
pub(crate) fn end(state: &str, seq: i32) -> Bytes {
    format!("event: end\ndata: {}\n\n", json!({"state": state, "seq": seq})).into()
}

fn ending(kind: &str) -> Option<&'static str> {
    match kind {
        "run.succeeded" => Some("succeeded"),
        "run.failed" => Some("failed"),
        "run.cancelled" => Some("cancelled"),
        _ => None,
    }
}
