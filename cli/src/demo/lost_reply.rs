//! The second story: a refund is made and its reply is lost, the tool may not be called twice, and nobody has to be asked.

use super::judge::Check;
use super::stage::Stage;
use super::story::{Teller, Until, Watched, ledger};
use crate::dev::example::{FILES, SCRIPT};
use crate::output::style;
use crate::show;
use engine::query::ApprovalsWanted;
use rehearsal::payments::Record;
use serde_json::json;

/// The order whose refund nobody hears of.
pub(super) const ORDER: &str = "ORD-1010";
/// What is wanted of this agent besides: a probe.
const PROBE: &str = include_str!("lost_reply.toml");

/// The example's agent with a tool that may not be called twice, does not wait for long, and has a probe.
fn agent() -> String {
    let words = [
        ("name = \"refund-desk\"", "name = \"refund-counter\""),
        ("at the refund desk", "at the refund counter"),
        ("effect = \"idempotent\"", "effect = \"at_most_once\""),
        ("timeout_seconds = 20", "timeout_seconds = 1"),
    ];
    let changed = words
        .iter()
        .fold(FILES[0].1.to_owned(), |file, (from, to)| file.replacen(from, to, 1));
    format!("{changed}{PROBE}")
}

/// What its model says.
pub(super) fn script() -> String {
    let words = [
        ("\nname = \"", "\nname = \"counter: "),
        ("refund desk", "refund counter"),
        ("4250", "4800"),
        ("42.50", "48.00"),
        // Once it is known how a model answers, nobody waits for it.
        ("delay_between_events_ms = 20", "delay_between_events_ms = 5"),
    ];
    words
        .iter()
        .fold(SCRIPT.to_owned(), |script, (from, to)| script.replace(from, to))
}

/// Plays and tells it; what had to hold.
pub(super) async fn play(stage: &mut Stage, teller: Teller, first: Watched) -> anyhow::Result<Vec<Check>> {
    let input = json!({
        "order_id": ORDER, "reason": "the serving board arrived split", "requested_on": "2026-11-18",
    });
    let (_, run) = stage.start_run(&agent(), input.to_string()).await?;
    teller.say("");
    teller.act(
        7,
        "Another request. This agent's refund_order is declared at_most_once: it is never sent again in doubt.",
    );
    teller.say("   The payments service makes this refund, and its reply never comes.");
    teller.say(format!("   run {run}\n"));
    let run_row = first.next(run).until(stage, teller, Until::Settled).await?;
    let engine = stage.engine()?;
    let journal = engine.journal(run).await?;
    let transcript = engine.transcript(run).await?;
    let wanted = ApprovalsWanted {
        tenant: stage.tenant.clone(),
        state: None,
        run: Some(run),
        before: None,
        rows: 1,
    };
    let asked = engine.approvals(&wanted).await?;
    let records: Vec<Record> = stage.ledger()?;
    let records: Vec<Record> = records.into_iter().filter(|record| record.order_id == ORDER).collect();
    teller.say("");
    let state = show::run::coloured(&run_row.state, &show::run::state(&run_row));
    teller.act(
        8,
        format!("The run: {state}. What became of the refund was read in the payments service's books."),
    );
    teller.heading("The journal of that run; the refund's state is what its probe found");
    teller.say(show::journal::of(&run_row, &journal));
    teller.heading("The payments service's own ledger of that order");
    teller.say(ledger(&records));
    teller.say(style::dim(
        "\nHad the probe not known, a person would be asked: longhaul inbox list",
    ));
    let paid: Vec<&Record> = records.iter().filter(|record| record.applied).collect();
    let refund = paid.first().and_then(|record| record.refund_id.as_deref());
    let names_it = refund.is_some_and(|refund| {
        let texts = transcript.iter().filter_map(|message| message.text.as_deref());
        texts.into_iter().any(|text| text.contains(refund))
    });
    let probes = journal.iter().filter(|row| row.kind == "probe").count();
    let check = |promise: &str, held: bool, seen: String| Check {
        promise: promise.to_owned(),
        held,
        seen,
    };
    Ok(vec![
        check(
            "the run whose reply was lost succeeded",
            run_row.state == "succeeded",
            run_row.state.clone(),
        ),
        check(
            "its refund was paid once",
            paid.len() == 1,
            format!("payments: {}", paid.len()),
        ),
        check(
            "a probe found it, and nobody was asked",
            probes > 0 && asked.is_empty(),
            format!("probes: {probes}, people asked: {}", asked.len()),
        ),
        check(
            "the conversation names that refund, too",
            names_it,
            refund.unwrap_or("no refund").to_owned(),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rehearsal::Script;

    #[test]
    fn the_second_story_changes_what_it_means_to_change() {
        let read = agent::definition::read(&agent()).expect("it is right").agent;
        let refund = read.tool("refund_order").expect("it is there");
        assert_eq!(read.name, "refund-counter");
        assert_eq!((refund.effect, refund.timeout_seconds), (agent::Effect::AtMostOnce, 1));
        assert!(refund.probe.is_some() && read.system.unwrap_or_default().contains("refund counter"));
        Script::from_toml(&format!("{SCRIPT}\n{}", script())).expect("both are one script");
        assert!(script().contains("refund counter") && !script().contains("42.50"));
    }
}
