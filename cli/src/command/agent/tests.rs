use super::*;
use std::fs;
use tempfile::TempDir;

const GOOD: &str = "name = \"good\"\n\n[model]\nname = \"claude-sonnet-5-5\"\nmax_tokens = 100\n";

fn files(contents: &[(&str, &[u8])]) -> (TempDir, Vec<PathBuf>) {
    let folder = TempDir::new().unwrap();
    let paths = contents.iter().map(|(name, content)| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn mistakes(contents: &[(&str, &[u8])]) -> Vec<String> {
    let (folder, paths) = files(contents);
    let reading = read_all(&paths).unwrap();
    let base = format!("{}/", folder.path().display());
    reading
        .mistakes
        .iter()
        .map(|(file, mistake)| told(file, mistake).replace(&base, ""))
        .collect()
}

#[test]
fn a_good_file_has_no_mistakes() {
    assert_eq!(mistakes(&[("good.toml", GOOD.as_bytes())]), Vec::<String>::new());
}

#[test]
fn the_mistakes_of_all_files_are_told_together() {
    let told = mistakes(&[
        ("a.toml", b"name = \"a\"\nfoo = 1\n"),
        ("good.toml", GOOD.as_bytes()),
        ("b.toml", b"name = 7\n"),
    ]);
    assert!(
        told.iter().any(|line| line.starts_with("a.toml:2: foo: found ")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|line| line.starts_with("b.toml:1: name: found ")),
        "{told:?}"
    );
}

#[test]
fn a_file_that_is_not_utf_8_says_on_which_line() {
    assert_eq!(
        mistakes(&[("a.toml", b"name = \"a\"\n\n\xff")]),
        ["a.toml:3: found byte 0xff, which begins no character, expected UTF-8 text"]
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let content = vec![b'#'; FILE_BYTES_MAX + 1];
    assert_eq!(
        mistakes(&[("a.toml", &content)]),
        ["a.toml:1: found more than 262144 bytes, expected no more than that"]
    );
}

#[test]
fn two_files_with_one_agent_are_a_mistake() {
    let told = mistakes(&[("a.toml", GOOD.as_bytes()), ("b.toml", GOOD.as_bytes())]);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("b.toml:1: name: found \"good\""), "{told:?}");
}

#[test]
fn programs_get_the_mistakes_one_by_one() {
    let (_folder, paths) = files(&[("a.toml", b"name = \"a\"\nfoo = 1\n")]);
    let failure = refused(&read_all(&paths).unwrap().mistakes, ("nothing was applied", true));
    let (name, details) = *failure.details.unwrap();
    assert_eq!(name, "mistakes");
    assert!(details.as_array().unwrap().iter().any(|mistake| mistake["line"] == 2));
}
