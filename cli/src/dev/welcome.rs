//! What people are told when everything is there.

use super::database::Database;
use super::example::{AppliedExample, Model};
use super::state::StateFolder;
use crate::output::{self, quoted, style};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
    let url = format!("http://{}", reachable(facts.address));
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
    line("database", database(facts.database.is_private(), &state));
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
        "  {found}{} run start {agent} --input '{INPUT}' --watch\n",
        output::program()
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

/// Where somebody on this machine reaches it: "every address" is none to call.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
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

/// Without its address, which would be one without a password: the file has it whole.
fn database(is_private: bool, state: &str) -> String {
    let whose = if is_private { "private" } else { "your own" };
    let at = style::dim(format!("its address is in {state}/database-url"));
    format!("{whose}  {at}")
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
            "Stopped. The data is in {}; {} dev goes on with it.",
            state.shown(),
            output::program()
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_every_one_is_told_as_one_to_call() {
        for (given, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            assert_eq!(reachable(given.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn the_database_is_named_by_the_file_that_has_its_whole_address() {
        for is_private in [true, false] {
            let told = database(is_private, ".longhaul");
            assert!(told.contains(".longhaul/database-url"), "{told}");
            assert!(!told.contains("://"), "{told}");
        }
    }
}
