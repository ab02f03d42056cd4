//! A streamed reply: bytes to events, events into the accumulator.

use crate::model::REPLY_BYTES_MAX;
use crate::model::evidence::Evidence;
use crate::model::failure::{Broken, silence};
use agent::wire::messages::{Progress, WireError};
use eventsource_stream::{EventStreamError, Eventsource};
use futures_util::StreamExt;
use reqwest::Response;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Reads events until the message is whole.
pub(super) async fn read(
    response: Response,
    idle_timeout: Duration,
    evidence: &mut Evidence,
    on_text: &mut impl FnMut(&str),
) -> Result<String, Broken> {
    let since_event = Arc::new(AtomicUsize::new(0));
    let lines = Lines {
        response,
        idle_timeout,
        held: Vec::new(),
        start: 0,
        scanned: 0,
        since_event: Arc::clone(&since_event),
    };
    let lines = futures_util::stream::try_unfold(lines, |mut lines| async move {
        let line = lines.next().await?;
        Ok::<_, Broken>(line.map(|line| (line, lines)))
    });
    let mut events = pin!(lines.eventsource());
    while let Some(event) = events.next().await {
        since_event.store(0, Ordering::Relaxed);
        let event = event.map_err(|error| match error {
            EventStreamError::Transport(broken) => broken,
            EventStreamError::Utf8(_) | EventStreamError::Parser(_) => {
                Broken::Wire(WireError::Malformed("the stream is not server-sent events"))
            }
        })?;
        match evidence.reply.event(&event.event, &event.data).map_err(Broken::Wire)? {
            Progress::TextDelta(text) => on_text(&text),
            Progress::Other => {}
            Progress::Complete => return evidence.finish_reply().map_err(Broken::Wire),
        }
    }
    Err(Broken::Wire(WireError::Incomplete))
}

/// Hands bytes on line by line: the event parser starts over at each piece it is given, so that an event of many pieces
/// would cost the square of its length.
struct Lines {
    response: Response,
    idle_timeout: Duration,
    held: Vec<u8>,
    start: usize,
    scanned: usize,
    /// Bytes handed on since the last whole event; an event has a bound.
    since_event: Arc<AtomicUsize>,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            if let Some(length) = self.held[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let end = self.scanned + length + 1;
                let line = self.held[self.start..end].to_vec();
                self.start = end;
                self.scanned = end;
                return self.hand_on(line);
            }
            self.held.drain(..self.start);
            self.start = 0;
            self.scanned = self.held.len();
            // Any byte is a sign of life, a ping's or a comment's too.
            match timeout(self.idle_timeout, self.response.chunk()).await {
                Err(_) => return Err(Broken::Time(silence(self.idle_timeout))),
                Ok(Err(_)) => return Err(Broken::Wire(WireError::Incomplete)),
                Ok(Ok(None)) if self.held.is_empty() => return Ok(None),
                Ok(Ok(None)) => {
                    self.scanned = 0;
                    let rest = std::mem::take(&mut self.held);
                    return self.hand_on(rest);
                }
                Ok(Ok(Some(chunk))) => {
                    self.held.extend_from_slice(&chunk);
                    if self.scanned > REPLY_BYTES_MAX {
                        return Err(Broken::Wire(WireError::TooLarge));
                    }
                }
            }
        }
    }

    fn hand_on(&self, line: Vec<u8>) -> Result<Option<Vec<u8>>, Broken> {
        let bytes = self.since_event.fetch_add(line.len(), Ordering::Relaxed) + line.len();
        if bytes > REPLY_BYTES_MAX {
            return Err(Broken::Wire(WireError::TooLarge));
        }
        Ok(Some(line))
    }
}
