use super::*;

fn file(path: &str, text: impl Into<String>) -> [SourceFile; 1] {
    [SourceFile {
        path: path.into(),
        text: text.into(),
    }]
}

#[test]
fn a_file_that_is_too_long_is_found_unless_it_says_why() {
    let long = "x\n".repeat(601);

    assert_eq!(check_length(&file("a/src/b.rs", long.as_str())).len(), 1);
    assert_eq!(check_length(&file("migrations/1.sql", long.as_str())).len(), 1);
    assert_eq!(check_length(&file("a/src/b.rs", "x\n".repeat(600))), []);
    assert_eq!(
        check_length(&file("a/src/b.rs", format!("// long: one table\n{long}"))),
        []
    );
    assert_eq!(check_length(&file("a.sql", format!("-- long: one table\n{long}"))), []);
    assert_eq!(check_length(&file("a/src/b.rs", format!("// long: \n{long}"))).len(), 1);
    assert_eq!(check_length(&file("docs/page.md", long.as_str())), []);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let [home, work] = MACHINE_FOLDERS;
    let found = |text: String| check_machine_traces(&file("docs/page.md", text)).len();

    assert_eq!(found(format!("see {home}notes")), 1);
    assert_eq!(found(format!("cd {work}main")), 1);
    assert_eq!(found(format!("(\"{work}main\")")), 1);
    assert_eq!(found(format!("https://example.com{work}item")), 0);
    assert_eq!(found("in the root of the tree, at work / at rest".to_owned()), 0);
}

#[test]
fn a_locked_package_from_a_mirror_is_found() {
    let mirror = "source = \"registry+https://mirror.example/index\"";
    let found = |line: &str| check_machine_traces(&file("Cargo.lock", line)).len();

    assert_eq!((found(mirror), found(LOCK_SOURCE)), (1, 0));
    assert_eq!(check_machine_traces(&file("notes.toml", mirror)), []);
}
