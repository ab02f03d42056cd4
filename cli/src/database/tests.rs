use super::*;

#[test]
fn an_address_is_shown_without_its_password() {
    let shown = [
        ("postgres://me:secret@host:1/db", "postgres://me@host:1/db"),
        ("postgres://me:se@cret@host/db?x=y@z", "postgres://me@host/db?x=y@z"),
        ("postgres://me@host/db", "postgres://me@host/db"),
        ("postgres://host/db", "postgres://host/db"),
        ("nonsense", "nonsense"),
    ];
    for (given, expected) in shown {
        assert_eq!(without_password(given), expected);
    }
}
