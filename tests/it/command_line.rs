//! The command line's settings and refusals, where no database is needed.

use longhaul_tests::dev_process::Desk;
use serde_json::Value;
use std::fs;

fn setting(desk: &Desk, words: &[&str], variables: &[(&str, &str)], key: &str) -> (Value, Value) {
    let words = [&["config", "--json"], words].concat();
    let output = desk
        .command(&words)
        .envs(variables.iter().copied())
        .output()
        .expect("longhaul runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let settings = told["settings"].as_array().expect("settings").iter();
    let found = settings
        .clone()
        .find(|setting| setting["key"] == key)
        .expect("the setting");
    (found["value"].clone(), found["from"].clone())
}

#[test]
fn a_setting_is_an_option_or_else_a_variable_or_else_in_the_file() {
    let desk = Desk::new();
    let told = |words: &[&str], variables: &[(&str, &str)]| {
        let (value, from) = setting(&desk, words, variables, "tenant");
        format!(
            "{} {}",
            value.as_str().unwrap_or_default(),
            from.as_str().unwrap_or_default()
        )
    };
    assert_eq!(told(&[], &[]), "default default");
    fs::write(desk.path().join("longhaul.toml"), "\ntenant = 'file'\n").expect("it is written");
    assert_eq!(told(&[], &[]), "file longhaul.toml:2");
    assert_eq!(told(&[], &[("LONGHAUL_TENANT", "")]), "file longhaul.toml:2");
    assert_eq!(
        told(&[], &[("LONGHAUL_TENANT", "variable")]),
        "variable LONGHAUL_TENANT"
    );
    assert_eq!(
        told(&["--tenant", "option"], &[("LONGHAUL_TENANT", "variable")]),
        "option --tenant"
    );
    fs::write(desk.path().join("other.toml"), "tenant = 'other'\n").expect("it is written");
    assert_eq!(told(&[], &[("LONGHAUL_CONFIG", "other.toml")]), "other other.toml:1");
    assert_eq!(
        told(&["--config", "longhaul.toml"], &[("LONGHAUL_CONFIG", "other.toml")]),
        "file longhaul.toml:2"
    );
}

#[test]
fn secrets_are_shown_to_nobody_but_who_asks_for_one_by_name() {
    let desk = Desk::new();
    fs::write(
        desk.path().join("longhaul.toml"),
        "database_url = 'postgres://me:hidden@host/db'\nmodel_key = 'hidden'\napi_token = 'hidden'\n",
    )
    .expect("it is written");
    for words in [&["config"][..], &["config", "--json"]] {
        let told = desk.said(words);
        assert!(!told.contains("hidden"), "{told}");
        assert!(told.contains("postgres://me@host/db"), "{told}");
    }
    assert_eq!(desk.said(&["config", "--get", "model_key"]), "hidden\n");

    let url = "postgres://me@127.0.0.1:1/db?password=hidden&sslmode=disable";
    for words in [&["config"][..], &["config", "--json"], &["run", "list"]] {
        let output = desk
            .command(words)
            .env("LONGHAUL_DATABASE_URL", url)
            .output()
            .expect("longhaul runs");
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!told.contains("hidden"), "{told}");
        assert!(
            told.contains("postgres://me@127.0.0.1:1/db?password=********"),
            "{told}"
        );
    }
}

#[test]
fn a_mistake_in_the_file_stops_every_command_and_names_its_line() {
    let desk = Desk::new();
    fs::write(desk.path().join("longhaul.toml"), "runs_max = 4\nlease_second = 5\n").expect("it is written");
    let (error, code) = desk.refused(&["run", "list"]);
    assert_eq!((error["code"].as_str(), code), (Some("invalid_config"), Some(2)));
    assert_eq!(error["mistakes"][0]["line"], 2);
    assert_eq!(error["mistakes"][0]["expected"], "lease_seconds (did you mean that?)");
}

#[test]
fn the_api_is_not_served_without_a_token_but_on_loopback_and_on_purpose() {
    let desk = Desk::new();
    fs::write(desk.path().join("empty"), "\n").expect("it is written");
    let refusals: [(&[&str], &str); 4] = [
        (&["api"], "token_required"),
        (&["api", "--listen", "0.0.0.0:0"], "token_required"),
        (
            &["api", "--listen", "0.0.0.0:0", "--insecure-no-token"],
            "token_required",
        ),
        (&["api", "--token-file", "empty"], "unreadable_file"),
    ];
    for (words, expected) in refusals {
        let (error, code) = desk.refused(words);
        assert_eq!((error["code"].as_str(), code), (Some(expected), Some(2)), "{words:?}");
    }
    // Let in, it asks for the database next.
    let (error, _) = desk.refused(&["api", "--insecure-no-token"]);
    assert_eq!(error["code"], "no_database");
}

#[test]
fn whoever_asks_a_port_where_nobody_is_hears_so() {
    let desk = Desk::new();
    let (error, code) = desk.refused(&["health", "127.0.0.1:1"]);
    assert_eq!((error["code"].as_str(), code), (Some("not_healthy"), Some(1)));
}

#[test]
fn completions_name_the_commands_and_usage_mistakes_are_json_where_asked_for() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(desk.said(&["completions", shell]).contains("watch"), "{shell}");
    }
    let (error, code) = desk.refused(&["run", "start"]);
    assert_eq!((error["code"].as_str(), code), (Some("usage"), Some(2)));
}

#[test]
fn a_usage_mistake_has_its_code_and_a_help_is_no_mistake() {
    let desk = Desk::new();
    let said = |words: &[&str]| String::from_utf8_lossy(&desk.run(words).stderr).into_owned();
    assert!(said(&["run", "lits"]).starts_with("error[usage]: unrecognized subcommand 'lits'\n"));
    assert!(said(&[]).starts_with("Durable agents and workflows on Postgres"));
}

#[test]
fn a_run_is_of_an_agent_or_of_a_workflow_and_not_of_both() {
    let desk = Desk::new();
    let refusals: [&[&str]; 5] = [
        &["run", "start", "--input", "1"],
        &["run", "start", "desk", "--workflow", "shop"],
        &["run", "start", "--workflow", "Shop"],
        &["run", "start", "--workflow", "agent"],
        &["run", "start", "--workflow", "shop", "--history", "earlier.json"],
    ];
    for words in refusals {
        let (error, code) = desk.refused(words);
        assert_eq!((error["code"].as_str(), code), (Some("usage"), Some(2)), "{words:?}");
    }
    // Let in, it asks for the database next.
    let (error, _) = desk.refused(&["run", "start", "--workflow", "shop"]);
    assert_eq!(error["code"], "no_database");
}

#[test]
fn output_that_is_lost_is_told_unless_its_reader_has_gone() {
    let desk = Desk::new();
    for words in [&["--help"][..], &["config"], &["completions", "bash"]] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("the device");
        let output = desk.command(words).stdout(full).output().expect("longhaul runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains("error[output_lost]"), "{words:?}: {told}");

        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = desk.command(words).stdout(writer).output().expect("longhaul runs");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn config_judges_variables_as_options_are_judged() {
    let desk = Desk::new();
    let mut command = desk.command(&["config", "--json"]);
    command
        .env("LONGHAUL_LEASE_SECONDS", "abc")
        .env("LONGHAUL_POLL_SECONDS", "0.001");
    let output = command.output().expect("longhaul runs");
    let told: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!(
        (told["error"]["code"].as_str(), output.status.code()),
        (Some("invalid_config"), Some(2))
    );
    let mistakes = told["error"]["mistakes"].as_array().expect("mistakes").iter();
    let variables: Vec<_> = mistakes.map(|mistake| mistake["variable"].as_str()).collect();
    assert_eq!(
        variables,
        [Some("LONGHAUL_LEASE_SECONDS"), Some("LONGHAUL_POLL_SECONDS")]
    );
    assert_eq!(told["error"]["mistakes"][1]["expected"], "0.01 to 86400 seconds");
}

#[test]
fn a_parameter_that_the_driver_does_not_know_is_not_logged() {
    let desk = Desk::new();
    let url = "postgres://me@127.0.0.1:1/db?pasword=hidden";
    let mut command = desk.command(&["run", "list"]);
    let output = command
        .env("LONGHAUL_DATABASE_URL", url)
        .env("LONGHAUL_LOG", "trace")
        .output();
    let told = String::from_utf8_lossy(&output.expect("longhaul runs").stderr).into_owned();
    assert!(!told.contains("hidden"), "{told}");
}

#[test]
fn colours_are_for_terminals() {
    let desk = Desk::new();
    let output = desk.run(&["run", "list"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.starts_with("error[no_database]: no database is named\nhint: "),
        "{told}"
    );
}

#[test]
fn agent_files_are_linted_without_a_database() {
    let desk = Desk::new();
    let lint = |file: &str| {
        let output = desk
            .command(&["agent", "lint", file, "--json"])
            .output()
            .expect("longhaul runs");
        let told: Value = serde_json::from_slice(&output.stdout)
            .or_else(|_| serde_json::from_slice(&output.stderr))
            .expect("JSON");
        (output.status.code(), told)
    };
    let agent = "name = 'clerk'\n[model]\nname = 'claude'\nmax_tokens = 100\n";
    let tool = "[[tool]]\nname = 'look'\nkind = 'function'\neffect = 'read_only'\ndescription = 'Looks.'\n";
    for (name, text) in [
        ("good.toml", agent.to_owned()),
        ("poor.toml", format!("{agent}{tool}")),
        ("bad.toml", format!("{agent}colour = 'red'\n")),
    ] {
        fs::write(desk.path().join(name), text).expect("it is written");
    }

    let (code, told) = lint("good.toml");
    assert_eq!((code, told["warnings"].as_array().map(Vec::len)), (Some(0), Some(0)));
    let (code, told) = lint("poor.toml");
    assert_eq!(code, Some(1), "{told}");
    assert_eq!(told["warnings"][0]["key"], "tool[0].description");
    let (code, told) = lint("bad.toml");
    assert_eq!(code, Some(2));
    assert!(told.to_string().contains("model.colour"), "{told}");
    assert!(told.to_string().contains("cannot be applied"), "{told}");
}
