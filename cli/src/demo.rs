//! `longhaul demo`: one agent run, a worker killed in the middle of a payment, a second one whose reply is lost, and the
//! books afterwards.
//!
//! [`stage`] starts and removes what is needed, [`story`] and [`lost_reply`] play and tell, [`judge`] says whether it all held.

mod judge;
mod lost_reply;
mod stage;
mod story;

use crate::args::{Demo, Global};
use crate::failure::{Exit, Failure};
use crate::output::{self, style};
use crate::signals::Signals;
use serde_json::json;
use stage::{Plan, Stage};
use std::io::IsTerminal;

/// How the demo is to go.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// The real model.
    live: bool,
    /// Nobody is asked to look around at the end.
    unattended: bool,
    /// Only the outcome is printed, as JSON.
    json: bool,
}

pub(crate) async fn run(global: &Global, args: Demo) -> anyhow::Result<Exit> {
    let manner = Manner {
        live: args.live,
        unattended: args.yes || global.json || !std::io::stdin().is_terminal(),
        json: global.json,
    };
    if manner.live && std::env::var("ANTHROPIC_API_KEY").map_or(true, |key| key.is_empty()) {
        let failure = Failure::usage(
            "missing_api_key",
            "--live calls the real model, and ANTHROPIC_API_KEY is not set",
        );
        return Err(failure
            .hint("set it, or leave --live out: the demo then plays a script, for free")
            .into());
    }
    let mut signals = Signals::catch()?;
    let mut stage = Stage::new(Plan {
        live: manner.live,
        // Only an address that was typed: the demo never works in a database that merely happens to be configured.
        database_url: global.database_url.clone(),
    })?;
    let played = tokio::select! {
        played = story::play(&mut stage, manner) => played,
        () = signals.next() => Err(Failure::new(Exit::Failed, "interrupted", "stopped before its end").into()),
    };
    let outcome = match played {
        Ok(outcome) => outcome,
        Err(error) => {
            // The logs go with the folder: what they say about it is told first.
            let failure = error.downcast_ref::<Failure>();
            let logs = stage.logs();
            if !logs.is_empty() && failure.is_none_or(|failure| failure.code != "interrupted") {
                output::note(logs);
            }
            stage.clear_away().await;
            return Err(error);
        }
    };
    let is_private = stage.is_private();
    stage.clear_away().await;
    let verdict = &outcome.verdict;
    if manner.json {
        output::json(&json!({"run_id": outcome.run, "held": verdict.held(), "checks": verdict.checks}));
    } else if is_private {
        output::line(style::dim("Everything that was started is gone again."));
    }
    if !verdict.held() {
        let message = format!("this did not hold: {}", verdict.broken().join("; "));
        return Err(Failure::new(Exit::Failed, "demo_failed", message).into());
    }
    Ok(Exit::Ok)
}
