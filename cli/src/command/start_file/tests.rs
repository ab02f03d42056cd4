use super::*;
use crate::args::{Cli, Command, RunCommand};
use clap::Parser;
use std::io::Write;

struct Desk {
    cli: Cli,
}

impl Desk {
    fn new(words: &[&str]) -> Self {
        let typed = ["longhaul", "run", "start", "--file", "-"].iter().chain(words);
        Self {
            cli: Cli::try_parse_from(typed).unwrap(),
        }
    }

    fn judge(&self, text: &[u8]) -> Judged {
        let Command::Run(RunCommand::Start(args)) = &self.cli.command else {
            panic!("not a start");
        };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let mut source = Source {
            name: "runs.jsonl".to_owned(),
            file,
            global: &self.cli.global,
            args,
        };
        source.judge().unwrap()
    }
}

#[test]
fn lines_are_counted_with_their_agents_and_keys() {
    let judged = Desk::new(&["desk"]).judge(b"{\"key\":\"a\"}\n\n  \n{\"agent\":\"other\",\"input\":[1]}\n{}");
    assert_eq!((judged.runs, judged.without_key), (3, 2));
    assert_eq!(
        judged.agents,
        BTreeMap::from([("desk".to_owned(), 1), ("other".to_owned(), 4)])
    );
    assert!(judged.mistakes.is_empty());
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = b"{\"inptu\":1}\nnonsense\n{}\n{\"agent\":\"a\",\"priority\":1001}\n{\"agent\":\"a\"}\n\xff\n";
    let judged = Desk::new(&[]).judge(text);
    let lines: Vec<u64> = judged.mistakes.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 6]);
    let told = &judged.mistakes[0].1;
    assert!(
        told.starts_with("column 8: unknown field `inptu`, expected one of"),
        "{told}"
    );
    assert!(judged.mistakes[2].1.contains("no agent"));
}

#[test]
fn only_the_first_mistakes_are_kept() {
    let judged = Desk::new(&[]).judge("nonsense\n".repeat(1_000).as_bytes());
    assert_eq!(judged.mistakes.len(), MISTAKES_MAX);
    assert_eq!(judged.mistakes_more, 980);
}

#[test]
fn a_line_says_more_than_the_options() {
    let desk = Desk::new(&["desk", "--queue", "slow", "--label", "shop=eu", "--label", "team=a"]);
    let Command::Run(RunCommand::Start(args)) = &desk.cli.command else {
        panic!("not a start");
    };
    let line = br#"{"input":{"a": 1},"labels":{"team":"b"},"idempotency_key":"k","history":[]}"#;
    let start = understand(line, &desk.cli.global, args).unwrap();
    assert_eq!((start.agent.as_str(), start.queue.as_str()), ("desk", "slow"));
    assert_eq!(start.input, r#"{"a": 1}"#);
    assert_eq!(start.labels["shop"], "eu");
    assert_eq!(start.labels["team"], "b");
    assert_eq!(start.idempotency_key.as_deref(), Some("k"));
    assert_eq!(start.history.as_deref(), Some("[]"));
}
