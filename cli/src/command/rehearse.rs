//! `longhaul rehearse`, and the demo's payments service.

use crate::args::{Global, Payments as PaymentsArgs, Rehearse as Args};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::signals::{self, Signals};
use rehearsal::payments::{Payments, PaymentsOptions};
use rehearsal::{Rehearsal, RehearsalError, RehearsalOptions, Script};
use serde_json::json;
use std::time::Duration;

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<Exit> {
    let mut signals = Signals::catch()?;
    let script = Script::read(&args.script).map_err(|error| unplayable(&error))?;
    let options = RehearsalOptions {
        listen: args.listen,
        record: args.record,
    };
    let rehearsal = match Rehearsal::start_with(script, options).await {
        Err(RehearsalError::Script(error)) => return Err(unplayable(&error).into()),
        started => started?,
    };
    let url = rehearsal.base_url();
    if global.json {
        output::json_line(&json!({"base_url": url}));
    } else {
        output::line(format!("playing {} at {url}", args.script.display()));
        output::line("point a worker to it:");
        output::line(format!(
            "  LONGHAUL_MODEL_KEY=rehearsal longhaul worker --model-url {url}"
        ));
        output::line("it plays until Ctrl-C");
    }
    signals.next().await;
    rehearsal.stop().await;
    Ok(Exit::Ok)
}

pub(crate) fn unplayable(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut message = error.to_string();
    if let Some(source) = error.source() {
        message = format!("{message}: {source}");
    }
    Failure::usage("invalid_script", message)
}

pub(crate) async fn payments(args: PaymentsArgs) -> anyhow::Result<Exit> {
    let mut signals = Signals::catch()?;
    if args.end_with_stdin {
        signals::end_with_stdin();
    }
    let options = PaymentsOptions {
        honours_keys: !args.ignore_keys,
        delay: Duration::from_millis(args.hold_ms),
        delay_arrivals: Some(1),
        lost_order: args.lose_order,
        ..PaymentsOptions::new(args.ledger)
    };
    let payments = Payments::start_at(options, args.listen).await?;
    output::line(payments.base_url());
    signals.next().await;
    payments.stop().await;
    Ok(Exit::Ok)
}
