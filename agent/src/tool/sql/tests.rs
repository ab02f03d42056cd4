use super::*;

fn parsed(text: &str) -> Statement {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn fields_are_taken_out_of_a_statement_and_never_joined_to_it() {
    let statement = parsed("insert into sale (customer, cents) values ({customer_id}, {cents}::bigint)");

    assert_eq!(statement.fields, ["customer_id", "cents"]);
    assert_eq!(
        statement.pieces,
        ["insert into sale (customer, cents) values (", ", ", "::bigint)"]
    );
}

#[test]
fn a_field_that_stands_there_twice_is_two_parameters() {
    let statement = parsed("select {a}, {a}");

    assert_eq!(statement.fields, ["a", "a"]);
    assert_eq!(statement.pieces, ["select ", ", ", ""]);
}

#[test]
fn braces_within_quotes_and_comments_are_only_text() {
    for text in [
        "select '{1,2}'::int[]",
        "select 'it''s {a}'",
        "select E'\\'{a}'",
        "select $$ {a} $$",
        "select $tag$ {a} $$ {b} $tag$",
        "select \"{a}\"",
        "select 1 -- {a}",
        "select 1 /* {a} /* {b} */ {c} */",
    ] {
        assert!(parsed(text).fields.is_empty(), "{text}");
        assert_eq!(parsed(text).pieces, [text]);
    }
}

#[test]
fn a_statement_may_end_with_a_semicolon_and_nothing_behind_it() {
    assert_eq!(parsed("select 1; -- that is all\n").pieces, ["select 1"]);
    assert_eq!(parse("select 1; select 2"), Err(SqlError::Several));
    assert_eq!(parse("select ';'; drop table sale"), Err(SqlError::Several));
}

#[test]
fn what_cannot_be_taken_apart_is_told() {
    let cases = [
        ("select 'a", "a quote that is never closed"),
        ("select \"a", "a double quote that is never closed"),
        ("select $a$ b", "a quote in dollars that is never closed"),
        ("select 1 /* /* */", "a comment that is never closed"),
        ("select {a", "a '{' that is never closed"),
        ("select a}", "a '}' that nothing opened"),
        ("select {}", "an empty '{}'"),
        ("select {env:SECRET}", "'{env:SECRET}', which is no field of the input"),
        ("select $1", "the parameter $1"),
        ("  -- nothing\n", "no statement"),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn what_a_statement_does_is_read_from_its_words() {
    let reads = [
        "select 1",
        "(select 1) union (select 2)",
        "values (1)",
        "table sale",
        "with a as (select 1) select * from a",
    ];
    for text in reads {
        assert!(parsed(text).reads() && parsed(text).returns_rows(), "{text}");
    }
    let writes = [
        ("insert into sale values (1)", false),
        ("update sale set a = 1 returning a", true),
        ("with old as (select 1) delete from sale using old", false),
        (
            "with old as (delete from sale returning *) insert into kept select * from old",
            false,
        ),
        ("merge into sale using new on true when matched then do nothing", false),
    ];
    for (text, rows) in writes {
        assert!(!parsed(text).reads() && parsed(text).is_sound(), "{text}");
        assert_eq!(parsed(text).returns_rows(), rows, "{text}");
    }
    for text in [
        "drop table sale",
        "commit",
        "call pay()",
        "do $$ $$",
        "copy sale to stdout",
        "set role admin",
    ] {
        assert!(!parsed(text).is_sound(), "{text}");
    }
    assert!(!parsed("with gone as (delete from sale returning *) select * from gone").reads());
}

#[test]
fn a_change_of_every_row_is_seen() {
    assert!(parsed("delete from sale").spares_nothing());
    assert!(parsed("update sale set a = (select b from c where d)").spares_nothing());
    assert!(!parsed("update sale set a = 1 where id = {id}").spares_nothing());
    assert!(!parsed("insert into sale values (1)").spares_nothing());
}

#[test]
fn schemas_that_are_named_are_seen_however_they_are_written() {
    for text in [
        "delete from longhaul.run",
        "delete from LONGHAUL . run",
        "delete from \"longhaul\".run",
        "select (select id from longhaul.run)",
    ] {
        assert!(parsed(text).names_schema("longhaul"), "{text}");
    }
    for text in [
        "select 'longhaul.run'",
        "select longhaul from trip",
        "select 1 -- longhaul.run",
        "select * from longhaul_trips.run",
    ] {
        assert!(!parsed(text).names_schema("longhaul"), "{text}");
    }
}

#[test]
fn a_field_between_quotes_is_seen() {
    assert_eq!(
        parsed("select * from sale where name = '{name}'").quoted_field(["id", "name"]),
        Some("name")
    );
    assert_eq!(
        parsed("select '{1,2}'::int[], {name}").quoted_field(["id", "name"]),
        None
    );
}
