//! What people are told when everything is there.

use super::database::Database;
use super::example::{AppliedExample, Model};
use super::state::StateFolder;
use crate::output::{self, style};
use serde_json::json;
use std::net::SocketAddr;

/// What there is to tell.
pub(super) struct Facts<'a> {
    pub(super) address: SocketAddr,
    pub(super) token: &'a str,
    pub(super) state: &'a StateFolder,
    pub(super) database: &'a Database,
    pub(super) model: &'a Model,
    pub(super) applied: &'a AppliedExample,
    pub(super) json: bool,
}

const INPUT: &str = r#"{"order_id":"ORD-1007","reason":"arrived broken"}"#;

pub(super) fn tell(facts: &Facts<'_>) {
    let url = format!("http://{}", facts.address);
    let state = facts.state.shown();
    if facts.json {
        output::json_line(&json!({
            "api": url, "token": facts.token, "database_url": facts.database.url(), "state": facts.state.path(),
            "agent": facts.applied.name,
        }));
        return;
    }
    output::line(format!("{} {url}\n", style::bold("Longhaul is ready at")));
    let line = |name: &str, text: String| output::line(format!("  {name:<9} {text}"));
    line(
        "token",
        format!("{}  {}", facts.token, style::dim(format!("kept in {state}/token"))),
    );
    if facts.database.is_private() {
        let whose = style::dim(format!("private, kept in {state}"));
        line("database", format!("{}  {whose}", facts.database.shown_url()));
    } else {
        line("database", facts.database.shown_url());
    }
    line("model", model(facts.model));
    line("agent", agent(facts.applied, &state));
    output::line(format!(
        "\n{}\n",
        style::bold("Try, in another shell and in this folder:")
    ));
    let agent = &facts.applied.name;
    // Only the usual folder is looked for.
    let found = if state == super::state::DEFAULT {
        String::new()
    } else {
        format!("LONGHAUL_DEV_STATE={} ", quoted(&state))
    };
    output::line(format!(
        "  {found}longhaul run start {agent} --input '{INPUT}' --watch\n"
    ));
    let state = quoted(&state);
    output::line(format!(
        "  curl -s {url}/v1/runs -H \"Authorization: Bearer $(cat {state}/token)\" \\\n    \
         -H 'Content-Type: application/json' -d '{{\"agent\":\"{agent}\",\"input\":{INPUT}}}'\n"
    ));
    output::line(format!(
        "  psql \"$(cat {state}/database-url)\" -c 'select run_id, state, agent, created_at from longhaul_audit.run'\n"
    ));
    output::line(style::dim(format!(
        "The API's page for people is {url}/docs. Ctrl-C stops everything; the data stays."
    )));
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = path
        .chars()
        .all(|sign| sign.is_ascii_alphanumeric() || "_./-".contains(sign));
    if is_plain {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

fn model(model: &Model) -> String {
    match model {
        Model::Script(own) if own.is_empty() => {
            "a script plays it, for free; set ANTHROPIC_API_KEY to call the real one".to_owned()
        }
        Model::Script(own) => {
            let own: Vec<String> = own.iter().map(|path| path.display().to_string()).collect();
            format!("a script plays it, for free: {}", own.join(", "))
        }
        Model::Real(url) => format!("the one at {url}; its calls are paid for"),
    }
}

fn agent(applied: &AppliedExample, state: &str) -> String {
    let name = &applied.name;
    if applied.is_replaced {
        return format!("{name}, as you applied it");
    }
    format!("{name}, an example: {state}/examples/{name}/agent.toml")
}

pub(super) fn goodbye(state: &StateFolder, json: bool) {
    if !json {
        output::note(style::dim(format!(
            "Stopped. The data is in {}; longhaul dev goes on with it.",
            state.shown()
        )));
    }
}
