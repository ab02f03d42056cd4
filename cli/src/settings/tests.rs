use super::*;
use crate::args::Command;
use std::io::Write;

fn typed(words: &[&str]) -> Vec<OsString> {
    std::iter::once("longhaul")
        .chain(words.iter().copied())
        .map(OsString::from)
        .collect()
}

fn with_file(text: &str, words: &[&str]) -> Result<Cli, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mut all = typed(words);
    all.push("--config".into());
    all.push(file.path().into());
    parse(all).map_err(|unparsed| match unparsed {
        Unparsed::Clap(told) => told.to_string(),
        Unparsed::Failure(failure) => failure.message.replace(file.path().to_str().unwrap(), "FILE"),
    })
}

fn worker(text: &str, words: &[&str]) -> crate::args::Worker {
    let Command::Worker(worker) = with_file(text, words).unwrap().command else {
        panic!("not a worker");
    };
    worker
}

#[test]
fn every_setting_means_an_option_that_is_there() {
    let command = Cli::command();
    for setting in ALL {
        assert_eq!(setting.variables[0], format!("LONGHAUL_{}", setting.key.to_uppercase()));
        for argument in setting.arguments {
            let owner = argument
                .command
                .iter()
                .try_fold(&command, |owner, name| owner.find_subcommand(name));
            let arg = owner.unwrap().get_arguments().find(|arg| arg.get_id() == argument.id);
            let arg = arg.unwrap_or_else(|| panic!("{argument:?} of {} is no option", setting.key));
            let variable = arg.get_env().map(|name| name.to_str().unwrap());
            assert_eq!(variable, Some(setting.variables[0]), "of {argument:?}");
        }
    }
}

#[test]
fn the_file_stands_between_what_is_typed_and_the_default() {
    let text = "runs_max = 8\nqueues = ['a', 'b']\nlease_seconds = 2.5\nno_notifications = true";
    let from_file = worker(text, &["worker"]);
    assert_eq!(from_file.runs_max, 8);
    assert_eq!(from_file.queues, ["a", "b"]);
    assert_eq!(from_file.lease.as_secs_f64(), 2.5);
    assert!(from_file.no_notifications);
    let mixed = worker(text, &["worker", "--runs-max", "3", "--queue", "c"]);
    assert_eq!(mixed.runs_max, 3);
    assert_eq!(mixed.queues, ["c"]);
    assert_eq!(mixed.poll.as_secs(), 5);
}

#[test]
fn what_has_no_option_is_found_with_its_line() {
    let cli = with_file("\n# a comment\nmodel_key = 'secret'", &["config"]).unwrap();
    let found = cli.global.settings.find("model_key");
    if std::env::var_os("ANTHROPIC_API_KEY").is_none() && std::env::var_os("LONGHAUL_MODEL_KEY").is_none() {
        let found = found.unwrap();
        assert_eq!(found.value, "secret");
        assert!(matches!(found.origin, Origin::File(_, 3)), "{:?}", found.origin);
    }
}

#[test]
fn every_mistake_of_the_file_is_told_with_its_line() {
    let text = "lease_second = 5\nruns_max = 0\ntenant = { a = 1 }\nlog_format = 'xml'\npoll_seconds = -1\n";
    assert_eq!(
        with_file(text, &["config"]).unwrap_err(),
        "5 mistakes in the settings:\n  \
         FILE:1: lease_second: found an unknown key, expected lease_seconds (did you mean that?)\n  \
         FILE:2: runs_max: found \"0\", expected a whole number from 1 on\n  \
         FILE:3: tenant: found a table, expected text, a number or a list\n  \
         FILE:4: log_format: found \"xml\", expected one of text, json\n  \
         FILE:5: poll_seconds: found \"-1\", expected 0.01 to 86400 seconds"
    );
}

#[test]
fn a_key_like_no_other_is_not_guessed_at() {
    let told = with_file("colour = 'red'", &["config"]).unwrap_err();
    assert_eq!(
        told,
        "FILE:1: colour: found an unknown key, expected a setting, as longhaul config lists them"
    );
}

#[test]
fn a_secret_that_makes_no_sense_is_not_shown() {
    let told = with_file("api_token = ['sec', 'ret']", &["config"]).unwrap_err();
    assert!(!told.contains("sec\""), "{told}");
}

#[test]
fn whoever_asks_for_help_gets_it_whatever_the_file_says() {
    let told = with_file("nonsense = 1", &["worker", "--help"]).unwrap_err();
    assert!(told.contains("--lease-seconds"), "{told}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let Err(Unparsed::Failure(failure)) = parse(typed(&["config", "--config=/nowhere/longhaul.toml"])) else {
        panic!("it is not there");
    };
    assert_eq!(failure.code, "unreadable_file");
}

#[test]
fn databases_of_tools_are_named_in_the_file() {
    let text = "runs_max = 8\n[databases.crm]\nurl = 'env:CRM_URL'\n[databases.ledger-2]\nurl = 'postgres://me:secret@host/ledger'";
    let cli = with_file(text, &["config"]).unwrap();
    let urls = cli.global.settings.database_urls();
    assert_eq!(urls["crm"], "env:CRM_URL");
    assert_eq!(urls["ledger-2"], "postgres://me:secret@host/ledger");
}

#[test]
fn every_mistake_about_databases_is_told_and_no_url_is_shown() {
    let text = "[databases.CRM]\nurl = 'env:A'\n[databases.b]\nurl = 'mysql://me:secret@host'\n[databases.c]\nuri = 'env:C'\n[databases.d]\n";
    let expected = "expected url = \"env:NAME\", or url = \"postgres://…\"";
    assert_eq!(
        with_file(text, &["config"]).unwrap_err(),
        format!(
            "4 mistakes in the settings:\n  \
             FILE:1: databases.CRM: found a name that no agent's file can have, expected lower-case letters, digits, _ and -, at most 63\n  \
             FILE:3: databases.b: found something else, {expected}\n  \
             FILE:5: databases.c: found the key uri, {expected}\n  \
             FILE:7: databases.d: found no url, {expected}"
        )
    );
}
