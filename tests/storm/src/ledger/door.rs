//! Where callers come in: each request is written down, acted on as the plan says, and answered as the plan says.
//!
//! Start at [`attend`].

use super::behaviour::{Asked, Deed};
use super::book::{Arrived, Book, Call};
use super::reply::{self, After};
use super::request::{Caller, Request};
use crate::record::{Front, now};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// A caller that has not hung up by now is not waited for: the limits of all tools are shorter.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where it is asked what became of a key.
const LOOK: &str = "/look";

/// Answers a caller until one of the two ends it.
pub(super) async fn attend(stream: TcpStream, book: &Arc<Book>) -> anyhow::Result<()> {
    let mut caller = Caller::new(stream)?;
    while let Some(request) = caller.request().await? {
        let after = match call(&request) {
            Some(call) => act(book, &mut caller, call).await?,
            None if request.path == LOOK => match wanted(&request) {
                Some(key) => reply::found(&mut caller, book.look(key).await?).await,
                None => reply::no_such_door(&mut caller).await,
            },
            None => reply::no_such_door(&mut caller).await,
        };
        match after {
            After::Open => {}
            After::Closed => break,
            After::Reset => {
                caller.reset();
                break;
            }
        }
    }
    Ok(())
}

/// The key that somebody asks about.
fn wanted(request: &Request) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Wanted {
        key: String,
    }
    let wanted: Wanted = serde_json::from_slice(&request.body).ok()?;
    Some(wanted.key)
}

/// What comes to none of the fronts is no call.
fn call(request: &Request) -> Option<Call> {
    let named = request.path.strip_prefix('/')?;
    let front = Front::ALL.into_iter().find(|front| front.as_str() == named)?;
    if request.method != "POST" {
        return None;
    }
    let asked = serde_json::from_slice::<Asked>(&request.body).ok();
    let text = |name: &str| request.header(name).map(ToOwned::to_owned);
    Some(Call {
        at: now(),
        front,
        asked: asked.filter(|asked| asked.front == front),
        body_sha256: sha256(&request.body),
        key: text("idempotency-key"),
        worker: text("longhaul-worker"),
        attempt: request
            .header("longhaul-attempt")
            .and_then(|attempt| attempt.parse().ok()),
        run: text("longhaul-run"),
    })
}

async fn act(book: &Arc<Book>, caller: &mut Caller, call: Call) -> anyhow::Result<After> {
    let front = call.front;
    let effect = call.asked.as_ref().map_or("", |asked| &asked.effect).to_owned();
    let Arrived {
        arrival,
        behaviour,
        receipt,
    } = book.arrive(call).await?;
    let receipt = match behaviour.deed {
        Deed::AtOnce | Deed::Never | Deed::Behind(_) => receipt,
        Deed::Late(gap) => {
            tokio::time::sleep(gap).await;
            Some(book.apply(arrival).await?)
        }
        Deed::GivenUp => {
            caller.hung_up(PATIENCE).await;
            Some(book.apply(arrival).await?)
        }
    };
    let content = reply::Content {
        front,
        result: receipt
            .map(|receipt| reply::result(&effect, receipt))
            .unwrap_or_default(),
    };
    let given = reply::give(caller, behaviour.answer, &content).await;
    book.reply(arrival, given.what, given.delivered);
    if let Deed::Behind(gap) = behaviour.deed {
        let book = Arc::clone(book);
        tokio::spawn(async move {
            tokio::time::sleep(gap).await;
            let _ = book.apply(arrival).await;
        });
    }
    Ok(given.after)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
