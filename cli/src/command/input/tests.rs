use super::*;
use crate::args::{Cli, Command, RunCommand};
use clap::Parser;
use std::io::Write;
use tempfile::NamedTempFile;

fn args(more: &[&str]) -> StartRun {
    let typed = ["longhaul", "run", "start", "an-agent"].iter().chain(more);
    let Command::Run(RunCommand::Start(args)) = Cli::try_parse_from(typed).unwrap().command else {
        panic!("not a start");
    };
    args
}

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn input_file(content: &[u8]) -> Result<String, Failure> {
    let file = file(content);
    input(&args(&["--input-file", file.path().to_str().unwrap()]))
}

#[test]
fn a_run_without_input_gets_an_empty_object() {
    assert_eq!(input(&args(&[])).unwrap(), "{}");
}

#[test]
fn text_becomes_a_json_string() {
    assert_eq!(
        input(&args(&["--input-text", "say \"hi\""])).unwrap(),
        r#""say \"hi\"""#
    );
}

#[test]
fn a_file_is_taken_as_it_stands() {
    assert_eq!(input_file(b"{\"a\": 1}\n").unwrap(), "{\"a\": 1}\n");
}

#[test]
fn a_file_that_is_not_utf_8_says_where() {
    let failure = input_file(b"\"a\xff\"").unwrap_err();
    assert_eq!(failure.code, "invalid_input");
    assert!(failure.message.contains("byte 2"), "{}", failure.message);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    assert_eq!(input_file(b"\xef\xbb\xbf{}").unwrap(), "{}");
}

#[test]
fn a_file_over_the_limit_is_refused_and_not_cut() {
    let mut content = vec![b' '; INPUT_BYTES_MAX];
    content[0] = b'1';
    assert!(input_file(&content).is_ok());
    content.push(b' ');
    assert_eq!(input_file(&content).unwrap_err().code, "input_too_large");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let failure = input(&args(&["--input-file", "/no/such/file"])).unwrap_err();
    assert_eq!(failure.code, "unreadable_file");
    assert!(failure.message.contains("/no/such/file"));
}

#[test]
fn an_earlier_conversation_is_optional() {
    assert_eq!(history(&args(&[])).unwrap(), None);
    let file = file(b"[]");
    let given = args(&["--history", file.path().to_str().unwrap()]);
    assert_eq!(history(&given).unwrap().as_deref(), Some("[]"));
}
