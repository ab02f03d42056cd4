//! Tools of kind `sql`.

use super::{SHORTEST, applied, mistake, mistakes, warnings};
use crate::definition::{SqlTool, ToolAction};
use crate::effect::Effect;

/// An agent with a tool of kind `sql` that has these keys.
fn sql(keys: &str) -> String {
    format!(
        r#"{SHORTEST}
[[tool]]
name = "sell"
description = "Sells one thing. Use it once the customer has agreed. Never use it to try something out."
kind = "sql"
{keys}
[tool.input]
type = "object"
additionalProperties = false
[tool.input.properties.item]
type = "string"
description = "What is sold"
[tool.input.properties.cents]
type = "integer"
description = "For how much"
"#
    )
}

#[test]
fn a_statement_on_the_engines_own_database_and_one_on_another_are_applied() {
    let own = sql("effect = \"transactional\"\nstatement = \"insert into sale values ({item}, {cents})\"");
    let other =
        sql("effect = \"read_only\"\ndatabase = \"crm\"\nrow_limit = 5\nstatement = \"select 1 where {item} > ''\"");

    assert!(warnings(&own).is_empty() && warnings(&other).is_empty());
    let tool = applied(&own).agent.tools.remove(0);
    assert_eq!(tool.effect, Effect::Transactional);
    let expected = SqlTool {
        statement: "insert into sale values ({item}, {cents})".to_owned(),
        database: None,
        row_limit: 1_000,
    };
    assert_eq!(tool.action, ToolAction::Sql(expected));
    let tool = applied(&other).agent.tools.remove(0);
    assert!(
        matches!(tool.action, ToolAction::Sql(SqlTool { database: Some(name), row_limit: 5, .. }) if name == "crm")
    );
}

#[test]
fn the_effect_says_where_a_statement_runs_and_is_never_left_out() {
    let statement = "statement = \"select 1\"";
    let where_it_runs = "\"read_only\" with a database, or \"transactional\" on the engine's own";
    assert!(mistake(&sql(statement)).ends_with(&format!("tool[0].effect: found nothing, expected {where_it_runs}")));
    for effect in ["idempotent", "at_most_once"] {
        let told = mistake(&sql(&format!("effect = \"{effect}\"\n{statement}")));
        assert!(
            told.ends_with(&format!("found \"{effect}\", expected {where_it_runs}")),
            "{told}"
        );
    }
    let told = mistake(&sql(&format!("effect = \"read_only\"\n{statement}")));
    assert!(told.contains("tool[0].database: found nothing"), "{told}");
    let told = mistake(&sql(&format!(
        "effect = \"transactional\"\ndatabase = \"crm\"\n{statement}"
    )));
    assert!(
        told.contains("tool[0].database: found \"crm\", expected none"),
        "{told}"
    );
    let http = format!(
        "{SHORTEST}\n[[tool]]\nname = \"a\"\ndescription = \"Reads. Use it whenever, and never else.\"\nkind = \"http\"\n\
         effect = \"transactional\"\nmethod = \"GET\"\nurl = \"https://host/\"\ninput = {{ type = \"object\", additionalProperties = false }}\n"
    );
    assert!(mistake(&http).contains("only a sql tool writes where its result is recorded"));
}

#[test]
fn what_a_statement_may_not_be_is_told() {
    let cases = [
        ("drop table sale", "a statement that begins with \"drop\""),
        ("commit", "a statement that begins with \"commit\""),
        ("delete from sale where item = {item}; select 1", "a second statement"),
        ("insert into sale values ('{item}')", "{item} within quotes"),
        ("insert into sale values ($1)", "the parameter $1"),
        (
            "insert into sale values ({env:SECRET})",
            "'{env:SECRET}', which is no field of the input",
        ),
        (
            "insert into sale values ({price})",
            "{price}, expected one of the input's properties: cents, item",
        ),
        ("insert into sale values ('a)", "a quote that is never closed"),
        (
            "update longhaul.run set priority = {cents} where true",
            "the schema longhaul",
        ),
        ("select * from \"longhaul_audit\".run", "the schema longhaul_audit"),
        (
            "with sold as (insert into sale values ({item}) returning *) select * from sold",
            "a with of which a part writes, and rows at its end",
        ),
    ];
    for (statement, expected) in cases {
        let told = mistake(&sql(&format!(
            "effect = \"transactional\"\nstatement = '''{statement}'''"
        )));
        assert!(
            told.contains("tool[0].statement: found ") && told.contains(expected),
            "{told}"
        );
    }
    let reads = "effect = \"read_only\"\ndatabase = \"crm\"\n";
    let told = mistake(&sql(&format!(
        "{reads}statement = \"delete from sale where item = {{item}}\""
    )));
    assert!(
        told.contains("found a statement that writes, expected one that reads"),
        "{told}"
    );
}

#[test]
fn keys_out_of_bounds_are_told_and_a_change_of_every_row_is_warned_of() {
    let keys = "effect = \"read_only\"\ndatabase = \"CRM!\"\nrow_limit = 0\n";
    let told = mistakes(&sql(keys)).join("\n");
    for expected in [
        "tool[0].database: found \"CRM!\"",
        "tool[0].row_limit: found 0",
        "tool[0].statement: found nothing",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    let every = sql("effect = \"transactional\"\nstatement = \"update sale set cents = {cents}\"");
    assert!(
        warnings(&every)
            .join("\n")
            .contains("found a change of every row, expected a where")
    );
}
