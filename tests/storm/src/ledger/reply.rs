//! Answers, good and bad, and how they go out.
//!
//! Start at [`give`].

use super::behaviour::{Answer, Manner, Then, Told};
use super::book::Found;
use super::request::Caller;
use crate::record::Front;
use serde_json::json;
use std::time::Duration;

const DRIP_INTERVAL: Duration = Duration::from_millis(50);

/// What an answer is made of.
pub(super) struct Content {
    pub(super) front: Front,
    /// Empty if nothing was done.
    pub(super) result: String,
}

/// What became of an answer.
pub(super) struct Given {
    pub(super) what: String,
    /// Whether the caller was there to be told, by a whole answer, that it was done.
    pub(super) delivered: bool,
    pub(super) after: After,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Open,
    Closed,
    Reset,
}

/// The result of a call on every front: the receipt is the number of the arrival that made the effect take place.
pub(super) fn result(effect: &str, receipt: u64) -> String {
    json!({ "effect": effect, "receipt": receipt }).to_string()
}

/// Answers as told.
pub(super) async fn give(caller: &mut Caller, answer: Answer, content: &Content) -> Given {
    match answer {
        Answer::Receipt(manner) => receipt(caller, manner, content).await,
        Answer::Status { status, retry_after } => {
            let body = json!({ "error": status }).to_string();
            let headers = if retry_after { "retry-after: 1\r\n" } else { "" };
            let handed = caller.hand_over(&message(status, headers, &body)).await;
            given(status.to_string(), false, open_if(handed))
        }
        Answer::Tell(then) => {
            let handed = caller
                .hand_over(&message(200, "", &told(content.result.clone(), then)))
                .await;
            // Only then will the product hear that it was done.
            let good = matches!(then, Then::Well | Then::Garbage);
            given(name(then), handed && good, open_if(handed))
        }
        Answer::Nothing => given("nothing".to_owned(), false, After::Closed),
    }
}

/// What became of a key.
pub(super) async fn found(caller: &mut Caller, found: Option<Found>) -> After {
    let told = match found {
        Some(found) => json!({"effect": found.effect, "receipt": found.receipt, "happened": true}),
        None => json!({"happened": false}),
    };
    let handed = caller.hand_over(&message(200, "", &told.to_string())).await;
    open_if(handed)
}

/// For what comes to none of the fronts.
pub(super) async fn no_such_door(caller: &mut Caller) -> After {
    let handed = caller.hand_over(&message(404, "", r#"{"error":"no such door"}"#)).await;
    open_if(handed)
}

async fn receipt(caller: &mut Caller, manner: Manner, content: &Content) -> Given {
    let body = match content.front {
        Front::Http => content.result.clone(),
        Front::Command | Front::Function => told(content.result.clone(), Then::Well),
    };
    let all = message(200, "", &body);
    match manner {
        Manner::Whole => {
            let handed = caller.hand_over(&all).await;
            given("200".to_owned(), handed, open_if(handed))
        }
        Manner::Drip { bytes } => {
            let handed = drip(caller, &all, bytes).await;
            given("drip".to_owned(), handed, open_if(handed))
        }
        Manner::Reset { percent } => {
            caller.hand_over(&all[..all.len() * percent / 100]).await;
            given("reset".to_owned(), false, After::Reset)
        }
        Manner::Truncated { percent } => {
            let missing = body.len() - body.len() * percent / 100;
            caller.hand_over(&all[..all.len() - missing]).await;
            given("truncated".to_owned(), false, After::Closed)
        }
        Manner::Doubled => {
            let twice = [all.as_slice(), &all].concat();
            let handed = caller.hand_over(&twice).await;
            given("doubled".to_owned(), handed, After::Closed)
        }
    }
}

async fn drip(caller: &mut Caller, all: &[u8], bytes: usize) -> bool {
    for drop in all.chunks(bytes) {
        tokio::time::sleep(DRIP_INTERVAL).await;
        if !caller.hand_over(drop).await {
            return false;
        }
    }
    true
}

const fn given(what: String, delivered: bool, after: After) -> Given {
    Given { what, delivered, after }
}

const fn open_if(handed: bool) -> After {
    if handed { After::Open } else { After::Closed }
}

/// For the record.
fn name(then: Then) -> String {
    match then {
        Then::Well => "well".to_owned(),
        Then::Exit { code } => format!("exit_{code}"),
        Then::Kill => "kill".to_owned(),
        Then::Hang => "hang".to_owned(),
        Then::Garbage => "garbage".to_owned(),
        Then::Transient => "transient".to_owned(),
        Then::NotApplied => "not_applied".to_owned(),
        Then::Panic => "panic".to_owned(),
    }
}

fn told(result: String, then: Then) -> String {
    json!(Told { result, then }).to_string()
}

fn message(status: u16, headers: &str, body: &str) -> Vec<u8> {
    // Nobody reads the reason.
    let reason = if status == 200 { "OK" } else { "Not OK" };
    let length = body.len();
    format!("HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}
