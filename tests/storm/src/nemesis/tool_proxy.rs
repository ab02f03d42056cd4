//! Stands between a worker, with the programs it runs, and the ledger. Start at [`serve`].

use super::door::{Door, End, Pair, accept, carry};
use super::journal::give_up;
use super::request::{Request, is_good};
use super::slot::{Life, Slot};
use crate::record::Window;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A call that has not been answered by then is being applied late.
const APPLIED_LATE: Duration = Duration::from_millis(60);

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
        };
        let cut = door.slot.tools_cut.subscribe();
        let target = door.target;
        tokio::spawn(async move { carry(worker, target, cut, async |pair| middle.pass(pair).await).await });
    }
}

/// One connection's.
struct Middle {
    slot: Arc<Slot>,
    life: Arc<Life>,
}

/// Bytes that came.
enum Came {
    FromWorker(Vec<u8>),
    FromLedger(Vec<u8>),
}

impl Middle {
    async fn pass(&self, pair: &mut Pair) -> End {
        self.requests(pair).await.unwrap_or(End::Reset)
    }

    /// One request and its answer after the other: nobody here sends two at once.
    async fn requests(&self, pair: &mut Pair) -> anyhow::Result<End> {
        let mut waiting = Vec::new();
        // Whose answer is owed or on its way.
        let mut asked: Option<Request> = None;
        let mut is_answered = false;
        loop {
            let Some(came) = next(pair).await? else {
                return Ok(End::Closed);
            };
            match came {
                Came::FromWorker(bytes) => {
                    waiting.extend(bytes);
                    let Some(request) = Request::read(&waiting)? else {
                        continue;
                    };
                    if self.strikes(Window::IntentUnsent, &request) {
                        return Ok(End::Closed);
                    }
                    pair.target.write_all(&std::mem::take(&mut waiting)).await?;
                    if self.strikes_late(&request, &pair.target).await {
                        return Ok(End::Closed);
                    }
                    (asked, is_answered) = (Some(request), false);
                }
                Came::FromLedger(bytes) => {
                    if let Some(request) = asked.as_ref().filter(|_| !is_answered) {
                        if is_good(&bytes) && self.strikes(Window::AppliedUnanswered, request) {
                            return Ok(End::Closed);
                        }
                        is_answered = true;
                    }
                    pair.worker.write_all(&bytes).await?;
                    if let Some(run) = asked
                        .as_ref()
                        .filter(|asked| asked.is_of(&self.life.name))
                        .and_then(|asked| asked.run)
                    {
                        self.life.replies.delivered(run);
                    }
                }
            }
        }
    }

    fn strikes(&self, window: Window, request: &Request) -> bool {
        let aim = self.slot.aims.armed(window).filter(|_| request.is_of(&self.life.name));
        aim.is_some_and(|aim| self.slot.strike(&self.life, &aim))
    }

    /// Where the call is applied late, and somebody aims at that.
    async fn strikes_late(&self, request: &Request, ledger: &TcpStream) -> bool {
        if self.slot.aims.armed(Window::SentUnapplied).is_none() {
            return false;
        }
        let answered = tokio::time::timeout(APPLIED_LATE, ledger.readable()).await;
        answered.is_err() && self.strikes(Window::SentUnapplied, request)
    }
}

/// None: one of them has closed it.
async fn next(pair: &mut Pair) -> anyhow::Result<Option<Came>> {
    let (mut up, mut down) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let (came, length) = tokio::select! {
        length = pair.worker.read(&mut up) => {
            let length = length?;
            up.truncate(length);
            (Came::FromWorker(up), length)
        }
        length = pair.target.read(&mut down) => {
            let length = length?;
            down.truncate(length);
            (Came::FromLedger(down), length)
        }
    };
    Ok((length > 0).then_some(came))
}
