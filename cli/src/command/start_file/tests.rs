use super::line::Understood;
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
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let judged = Desk::new(&["desk"]).judge(b"\xef\xbb\xbf{\"key\":\"a\"}\n{}\n");
    assert_eq!((judged.runs, judged.without_key), (2, 1));
    assert!(judged.mistakes.is_empty(), "{:?}", judged.mistakes);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = b"{\"inptu\":1}\nnonsense\n{}\n{\"agent\":\"a\",\"priority\":1001}\n{\"agent\":\"a\"}\n\xff\n";
    let judged = Desk::new(&[]).judge(text);
    let lines: Vec<u64> = judged.mistakes.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 1, 2, 3, 4, 6]);
    let told = &judged.mistakes[0].1;
    assert!(
        told.starts_with("inptu: there is no such field; there are agent, workflow, input, key,"),
        "{told}"
    );
    assert_eq!(
        judged.mistakes[1].1,
        "no agent and no workflow: name one here, or on the command line for all lines"
    );
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
    let Understood { start, mistakes } = understand(line, &desk.cli.global, args);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    assert_eq!((start.agent.as_str(), start.queue.as_str()), ("desk", "slow"));
    assert_eq!(start.input, r#"{"a": 1}"#);
    assert_eq!(start.labels["shop"], "eu");
    assert_eq!(start.labels["team"], "b");
    assert_eq!(start.idempotency_key.as_deref(), Some("k"));
    assert_eq!(start.history.as_deref(), Some("[]"));
}

#[test]
fn all_mistakes_of_a_line_are_told_in_words_for_people() {
    let told = |text: &str| -> Vec<String> {
        let judged = Desk::new(&["desk"]).judge(text.as_bytes());
        judged.mistakes.into_iter().map(|(_, told)| told).collect()
    };
    assert_eq!(
        told(
            r#"{"agent":"","key":"","key":"","queue":3,"priority":"high","due_at":"tomorrow","deadline_at":"1970-01-01T00:00:00Z","labels":{"a":1},"history":[1]}"#
        ),
        [
            "key: given twice",
            "agent: has 0 bytes, expected 1 to 255 and no NUL",
            "history[0]: a message is an object with `role` and `content`",
            "key: has 0 bytes, expected 1 to 255 and no NUL",
            "labels: found {\"a\":1}, expected an object of texts, such as {\"shop\": \"eu\"}",
            "due_at: found \"tomorrow\", expected a time with its zone, such as \"2030-01-31T09:00:00Z\"",
            "deadline_at: found \"1970-01-01T00:00:00Z\", expected a time between the years 2000 and 9999",
            "queue: found 3, expected text",
            "priority: found \"high\", expected a whole number from 0 (first) to 1000 (last)",
        ]
    );
    for (line, expected) in [
        ("nonsense", "column 2: this is not JSON"),
        ("[1]", "not a JSON object, such as {\"input\": {}}"),
        (
            "{\"input\":",
            "the line ends in the middle of its JSON: each run is one line",
        ),
        (
            "{\"priority\":1.5}",
            "priority: found 1.5, expected a whole number from 0 (first) to 1000 (last)",
        ),
        (
            "{\"key\":\"a\",\"idempotency_key\":\"b\"}",
            "idempotency_key: the same as key; give one of them",
        ),
    ] {
        assert_eq!(told(line), [expected], "{line}");
    }
}

#[test]
fn a_line_names_an_agent_or_a_workflow_or_leaves_that_to_the_options() {
    let of = |words: &[&str], line: &str| {
        let desk = Desk::new(words);
        let Command::Run(RunCommand::Start(args)) = &desk.cli.command else {
            panic!("not a start");
        };
        let Understood { start, mistakes } = understand(line.as_bytes(), &desk.cli.global, args);
        (start.kind, start.agent, mistakes)
    };
    let fine = |kind: &str, agent: &str| (kind.to_owned(), agent.to_owned(), Vec::new());
    assert_eq!(of(&["--workflow", "shop"], "{}"), fine("shop", ""));
    assert_eq!(
        of(&["--workflow", "shop"], r#"{"agent":"desk"}"#),
        fine("agent", "desk")
    );
    assert_eq!(of(&["desk"], r#"{"workflow":"shop"}"#), fine("shop", ""));
    let mistakes = |words: &[&str], line: &str| of(words, line).2;
    assert_eq!(
        mistakes(&[], r#"{"agent":"desk","workflow":"shop"}"#),
        ["workflow: the line names an agent too; a run is of one of them"]
    );
    assert_eq!(
        mistakes(&[], r#"{"workflow":"agent"}"#),
        [format!(
            "workflow: found \"agent\", expected {}",
            engine::limits::WORKFLOW_NAME
        )]
    );
    assert_eq!(
        mistakes(&["--workflow", "shop"], r#"{"history":[]}"#),
        ["history: a workflow has none; what it needs stands in its input"]
    );
}

#[test]
fn a_deadline_lies_after_the_time_when_the_run_is_due() {
    let told = |deadline: &str| {
        let line = format!(r#"{{"due_at":"2030-01-01T00:00:00Z","deadline_at":"{deadline}"}}"#);
        Desk::new(&["desk"]).judge(line.as_bytes()).mistakes.len()
    };
    assert_eq!(told("2030-01-01T00:00:00Z"), 1);
    assert_eq!(told("2030-01-01T00:00:01Z"), 0);
}

#[test]
fn an_agent_that_is_not_there_is_told_among_the_other_mistakes() {
    let mut judged = Desk::new(&["desk"]).judge(b"{\"agent\":\"nobody\",\"queue\":1}\nnonsense\n");
    assert_eq!(judged.agents["nobody"], 1);
    judged.mistake_before(1, "agent \"nobody\" does not exist".to_owned());
    let lines: Vec<u64> = judged.mistakes.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 1, 2]);
}
