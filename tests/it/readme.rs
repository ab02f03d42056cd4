//! Each command of the README is run, in the order in which it stands there.
//!
//! A section is one story in one empty folder: blocks of files are written under the name that the sentence before them
//! gives, blocks of commands are typed into one shell. What a console block shows is compared with what is printed, but
//! for ids, times and numbers. `cargo run --` is the program under test; `docker`, which has a script of its own, and
//! `cargo install` do nothing. Commands that run until they are stopped go on beside the others.

use longhaul_tests::database::TestDatabase;
use longhaul_tests::dev_process::Desk;
use longhaul_tests::process::under_test;
use longhaul_tests::world::workspace_file;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// What the shell knows besides the README's own words.
const SHELL: &str = r#"
PIDS=
serve() { # a command that goes on
    name=$1; shift
    : >"$name.log" # before it starts: what an earlier one said is no sign of this one
    longhaul "$name" "$@" >>"$name.log" 2>&1 & PIDS="$! $PIDS"
    case $name in rehearse) sign='playing' ;; payments) sign='http' ;; dev) sign='Longhaul is ready' ;; worker) sign='is ready' ;; api) sign='listening' ;; esac
    tries=0
    until grep -q "$sign" "$name.log"; do
        kill -0 "${PIDS%% *}" && [ "$tries" -lt 600 ] || { cat "$name.log" >&2; exit 1; }
        tries=$((tries + 1)); sleep 0.05
    done
}
compose_up() { # what docker-compose.yml starts, without containers: ADDRESS DATABASE
    export LONGHAUL_DATABASE_URL=$2
    longhaul migrate
    serve payments --ledger ledger.jsonl
    serve rehearse examples/refund-clerk/rehearsal.toml
    export PAYMENTS_URL=$(cat payments.log) PAYMENTS_TOKEN=token LONGHAUL_MODEL_KEY=rehearsal
    LONGHAUL_MODEL_URL=$(sed -n 's/^playing.* at //p' rehearse.log) serve worker --name worker-1
    serve api --listen "$1"
}
finish() { for pid in $PIDS; do kill -TERM "$pid"; wait "$pid"; done; PIDS=; }
trap 'for pid in $PIDS; do kill -KILL "$pid" 2>/dev/null || :; done' EXIT
"#;

/// A fenced block.
struct Block<'a> {
    language: &'a str,
    text: String,
    /// The last line of prose before it.
    before: &'a str,
}

/// A section's blocks.
fn blocks<'a>(readme: &'a str, heading: &str) -> Vec<Block<'a>> {
    let (_, section) = readme
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("the README has no section {heading:?}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let (mut blocks, mut before) = (Vec::new(), "");
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block {
                language,
                text: text.join("\n") + "\n",
                before,
            });
        } else if !line.trim().is_empty() {
            before = line;
        }
    }
    blocks
}

/// `` … This is `clock.toml`: `` names the file that follows.
fn file_name(before: &str) -> Option<&str> {
    before.strip_suffix("`:")?.rsplit_once('`').map(|(_, name)| name)
}

/// The shell's words for a section, and what each console command is to print.
fn script(blocks: &[Block<'_>], folder: &Path) -> (String, Vec<String>) {
    let mut words = SHELL.to_owned();
    let mut expected: Vec<String> = Vec::new();
    for block in blocks {
        match (block.language, file_name(block.before)) {
            ("toml" | "json", Some(name)) => fs::write(folder.join(name), &block.text).expect("a file is written"),
            ("sql", _) => {
                words.push_str("psql -v ON_ERROR_STOP=1 \"$(cat .longhaul/database-url)\" <<'SQL'\n");
                words.push_str(&block.text);
                words.push_str("SQL\n");
            }
            ("sh", _) => {
                for line in block.text.lines() {
                    words.push_str(&typed(line));
                }
            }
            ("console", _) => {
                for line in block.text.lines() {
                    match (line.strip_prefix("$ "), expected.last_mut()) {
                        (Some(command), _) => {
                            words.push_str(&format!("echo @@@\n{command}\necho @@@\n"));
                            expected.push(String::new());
                        }
                        (None, Some(output)) => *output += &format!("{line}\n"),
                        (None, None) => panic!("output without a command: {line}"),
                    }
                }
            }
            ("text", _) => {}
            (language, _) => panic!("a block of {language:?} after {:?} is not run", block.before),
        }
    }
    words.push_str("finish\n");
    (words, expected)
}

fn typed(line: &str) -> String {
    for name in ["dev", "worker", "api"] {
        for program in ["longhaul", "cargo run --"] {
            if let Some(rest) = line.strip_prefix(&format!("{program} {name}")) {
                return format!("serve {name}{rest}\n");
            }
        }
    }
    format!("{line}\n")
}

/// Runs a section in a folder of its own.
fn play(heading: &str, changes: &[(&str, &str)]) {
    let desk = Desk::new();
    let shims = desk.path().join(".shims");
    fs::create_dir(&shims).expect("a folder");
    symlink(under_test(), shims.join("longhaul")).expect("a link");
    program(
        &shims,
        "cargo",
        "[ \"$1\" != run ] || { shift 2; exec longhaul \"$@\"; }",
    );
    program(&shims, "docker", "exit 0");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    symlink(examples, desk.path().join("examples")).expect("a link");
    let mut readme = workspace_file("README.md");
    for (from, to) in changes {
        readme = readme.replace(from, to);
    }
    let (words, expected) = script(&blocks(&readme, heading), desk.path());
    fs::write(desk.path().join("script.sh"), &words).expect("a script");
    let mut shell = Command::new("sh");
    // Variables as for any command of a desk.
    for (name, value) in desk.command(&[]).get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let path = std::env::var("PATH").unwrap_or_default();
    shell
        .env("PATH", format!("{}:{path}", shims.display()))
        .args(["-eu", "script.sh"])
        .current_dir(desk.path());
    let output = shell.output().expect("a shell");
    let (printed, told) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{words}\n--- printed\n{printed}\n--- told\n{told}"
    );
    let shown = printed.split("@@@\n").skip(1).step_by(2);
    let shown: Vec<String> = shown.map(without_numbers).collect();
    let expected: Vec<String> = expected.iter().map(|text| without_numbers(text)).collect();
    assert_eq!(shown, expected);
}

fn program(folder: &Path, name: &str, words: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{words}\n")).expect("a program");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it may be run");
}

/// Ids and times differ each time: runs of hexadecimal digits that hold a number count as one sign.
fn without_numbers(text: &str) -> String {
    let mut told = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        let is_number = word.trim().starts_with("01a") || word.contains(':');
        told.push_str(if is_number && word.chars().any(|sign| sign.is_ascii_digit()) {
            if word.ends_with('\n') { "#\n" } else { "# " }
        } else {
            word
        });
    }
    told
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[test]
fn the_demo_and_dev_start_in_a_minute() {
    let listen = format!("dev --listen {}", free_address());
    play(
        "Start in a minute",
        &[("cargo run -- dev ", &format!("cargo run -- {listen} "))],
    );
}

#[test]
fn a_first_agent_of_ones_own_is_written_applied_run_and_looked_at() {
    let address = free_address();
    let started = format!("longhaul dev --listen {address} --script");
    play(
        "A first agent of your own",
        &[("127.0.0.1:7700", &address), ("longhaul dev --script", &started)],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_for_real_with_the_programs_of_the_containers_and_on_a_database_of_ones_own() {
    let (composed, own) = (TestDatabase::empty().await, TestDatabase::empty().await);
    let (composed_url, own_url) = (composed.url.clone(), own.url.clone());
    let (address, own_address) = (free_address(), free_address());
    let played = tokio::task::spawn_blocking(move || {
        play(
            "Run it for real",
            &[
                (
                    "docker compose up --build --detach",
                    &format!("compose_up {address} '{composed_url}'"),
                ),
                ("127.0.0.1:7700", &address),
                ("postgres://me@localhost/longhaul", &format!("'{own_url}'")),
                // Its file is in another section.
                (
                    "longhaul agent apply clock.toml",
                    "longhaul agent apply examples/refund-clerk/agent.toml",
                ),
                ("longhaul api ", &format!("longhaul api --listen {own_address} ")),
            ],
        );
    });
    played.await.expect("the section is right");
}

#[test]
fn the_program_of_the_manual_of_workflows_is_the_example_that_is_built() {
    let example = workspace_file("examples/settle-invoices/main.rs");
    let (_, program) = example.split_once("\n\n").expect("a comment, then the program");
    let manual = workspace_file("docs/workflows.md");
    assert!(
        manual.contains(&format!("```rust\n{program}```")),
        "docs/workflows.md shows another program"
    );
}
