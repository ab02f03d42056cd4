use super::*;

#[test]
fn an_address_is_shown_without_its_password() {
    let shown = [
        ("postgres://me:secret@host:1/db", "postgres://me@host:1/db"),
        (
            "postgres://me:se@cret@host/db?x=y@z",
            "postgres://me@host/db?x=********",
        ),
        ("postgres://me@host/db", "postgres://me@host/db"),
        ("postgres://host/db", "postgres://host/db"),
        ("postgresql://me:secret@[::1]:5432/db", "postgresql://me@[::1]:5432/db"),
        (
            "postgres://u@h/d?password=secret&sslmode=require&sslpassword=secret&pass%77ord=secret&secret",
            "postgres://u@h/d?password=********&sslmode=require&sslpassword=********&pass%77ord=********&********",
        ),
        (
            "postgres:///db?host=/run/postgresql&user=me",
            "postgres:///db?host=/run/postgresql&user=me",
        ),
        ("postgres://me@host/db#secret", "postgres://me@host/db"),
    ];
    for (given, expected) in shown {
        assert_eq!(without_password(given), expected);
    }
}

#[test]
fn nothing_is_shown_of_an_address_that_cannot_be_read() {
    for given in [
        "secret",
        "host=h password=secret",
        "mysql://me:secret@host/db",
        "postgres://me:se/cret@host/db",
        "postgres://me:1/secret@host/db",
        "postgres://me:secret?x@host/db",
        "postgres://me:sec#ret@host/db",
        "postgres://me:sec ret@host/db",
        "postgres://me:secret",
        "postgres://[secret/db",
    ] {
        assert_eq!(without_password(given), UNREADABLE, "{given}");
    }
}
