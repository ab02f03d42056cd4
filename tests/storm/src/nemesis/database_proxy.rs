//! Stands between a worker and Postgres. Start at [`serve`].

use super::door::{Door, End, Pair, accept, carry};
use super::journal::{deed, give_up};
use super::session::{Downward, Session, Upward};
use super::slot::{Life, Slot};
use super::wire::Frames;
use crate::record::{Deed, Window};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Read at once.
const CHUNK_BYTES: usize = 16 * 1024;

pub(super) async fn serve(listener: TcpListener, door: Door) {
    loop {
        let worker = match accept(&listener).await {
            Ok(worker) => worker,
            Err(error) => give_up(&error.into()),
        };
        let middle = Middle {
            life: door.slot.life(),
            slot: Arc::clone(&door.slot),
            session: Mutex::new(Session::new()),
        };
        middle.life.has_spoken.store(true, Ordering::SeqCst);
        let cut = door.slot.database_cut.subscribe();
        let target = door.target;
        tokio::spawn(async move { carry(worker, target, cut, async |pair| middle.pass(pair).await).await });
    }
}

/// One connection's.
struct Middle {
    slot: Arc<Slot>,
    life: Arc<Life>,
    session: Mutex<Session>,
}

impl Middle {
    async fn pass(&self, pair: &mut Pair) -> End {
        let (from_worker, to_worker) = pair.worker.split();
        let (from_server, to_server) = pair.target.split();
        let end = tokio::select! {
            end = self.upward(from_worker, to_server) => end,
            end = self.downward(from_server, to_worker) => end,
        };
        end.unwrap_or(End::Reset)
    }

    async fn upward(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> anyhow::Result<End> {
        let mut frames = Frames::of_client();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 {
                return Ok(End::Closed);
            }
            frames.extend(chunk.get(..length).unwrap_or_default());
            let mut allowed = Vec::new();
            while let Some(message) = frames.next()? {
                let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
                let verdict = session.upward(&message, &self.slot.aims, &self.life.replies);
                if session.takes_record() {
                    self.slot.work_seen.notify_one();
                }
                drop(session);
                match verdict {
                    Upward::Strike(aim) if self.slot.strike(&self.life, &aim) => return Ok(End::Closed),
                    Upward::Strike(_) | Upward::Forward => allowed.extend(message.bytes),
                }
            }
            to.write_all(&allowed).await?;
        }
    }

    async fn downward(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> anyhow::Result<End> {
        let mut frames = Frames::of_server();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut held = Vec::new();
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 {
                return Ok(End::Closed);
            }
            frames.extend(chunk.get(..length).unwrap_or_default());
            let mut allowed = Vec::new();
            while let Some(message) = frames.next()? {
                let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
                let verdict = session.downward(&message, &self.slot.aims, self.slot.silence.is_on());
                drop(session);
                match verdict {
                    Downward::Strike(aim) if aim.window == Window::RecordAnswerLost => {
                        if aim.take() {
                            let lost = deed(Deed::AnswerLost).to(&self.life.name);
                            self.slot.journal().write(lost.within(aim.window));
                            return Ok(End::Reset);
                        }
                    }
                    Downward::Strike(aim) => {
                        if self.slot.strike(&self.life, &aim) {
                            return Ok(End::Closed);
                        }
                    }
                    Downward::Hold => {
                        held.extend(message.bytes);
                        continue;
                    }
                    Downward::Swallow => {
                        self.slot.silence.lose();
                        continue;
                    }
                    Downward::Deliver => {}
                }
                allowed.append(&mut held);
                allowed.extend(message.bytes);
            }
            to.write_all(&allowed).await?;
        }
    }
}
