use super::*;

const HEAD: &str = "# Checklist\n\n| id | where | test | note |\n|---|:---|---|---|\n";

fn findings(rows: &str) -> Vec<String> {
    let page = SourceFile {
        path: CHECKLIST.into(),
        text: format!("{HEAD}{rows}\n"),
    };
    let attribute = concat!("#[", "tokio::test]");
    let code = format!("{attribute}\n#[ignore = \"slow\"]\nasync fn a_run_ends() {{}}\n\nfn a_helper() {{}}\n");
    let code = SourceFile {
        path: "tests/it/run.rs".into(),
        text: code,
    };
    check(&[page, code]).into_iter().map(|finding| finding.what).collect()
}

#[test]
fn a_row_that_names_a_missing_test_is_found() {
    assert_eq!(
        findings("| L1 | `agent` | `it::run::a_run_starts` | |"),
        ["row L1 names it::run::a_run_starts, which is no test of this workspace"]
    );
}

#[test]
fn a_helper_is_no_test() {
    assert_eq!(findings("| L1 | agent | `a_helper` | |").len(), 1);
}

#[test]
fn rows_whose_tests_exist_are_in_order() {
    let rows = "| L1 | agent | `it::run::a_run_ends`, `a_run_ends` | |\n| L2 | a \\| b | `tests/it/run.rs` | |";

    assert_eq!(findings(rows), <[String; 0]>::default());
}

#[test]
fn a_row_without_a_test_must_say_why() {
    assert_eq!(findings("| L1 | agent | | |"), ["row L1 names no test"]);
    assert_eq!(
        findings("| L1 | agent | – | the provider's side |"),
        <[String; 0]>::default()
    );
}

#[test]
fn a_row_with_a_missing_column_is_found() {
    assert_eq!(findings("| L1 | agent | `a_run_ends` |"), ["a row has 3 columns"]);
}

#[test]
fn a_workspace_without_the_page_is_found() {
    assert_eq!(check(&[])[0].what, "the checklist is missing");
}

#[test]
fn a_page_whose_table_names_tests_names_those_that_exist() {
    let found = |row: &str| {
        let page = SourceFile {
            path: CHECKLIST.into(),
            text: HEAD.to_owned(),
        };
        let other = SourceFile {
            path: "docs/failure-semantics.md".into(),
            text: format!("| word |\n|---|\n| `free` |\n\n| what | test |\n| --- | --- |\n{row}\n"),
        };
        check(&[page, other]).len()
    };
    assert_eq!(found("| it breaks | `docs/failure-semantics.md` |"), 0);
    assert_eq!(found("| it breaks | `nobody_shows_this` |"), 1);
    assert_eq!(found("| it breaks | |"), 1);
}
