use super::*;

#[test]
fn a_name_may_hold_what_separates_fields() {
    let line = "42 (odd) name (x) S 7 42 42 0 -1 4194304 9 8 7 6 100 20 3 4 20 0 1 0 5 6 7\n";
    let stat = parse(line).unwrap();
    assert_eq!(
        stat,
        Stat {
            name: "odd) name (x".to_owned(),
            parent: 7,
            own: 120,
            ended_children: 7,
        }
    );
}

#[test]
fn a_line_that_is_cut_is_none() {
    assert_eq!(parse("42 (cat) S 7 42"), None);
    assert_eq!(parse(""), None);
}
