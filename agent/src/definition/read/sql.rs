//! The keys of a tool of kind `sql`, and what can be said of its statement without a database.

use super::form::Form;
use super::report::{Report, quote};
use crate::definition::SqlTool;
use crate::definition::limits::{DATABASE_NAME_CHARS_MAX, ROW_LIMIT};
use crate::effect::Effect;
use crate::tool::sql::{self, SqlError, Statement};
use serde_json::Value;

/// The engine's own schemas.
const OWN_SCHEMAS: [&str; 2] = ["longhaul", "longhaul_audit"];

/// Rows shown where nothing is said.
const ROWS: u32 = 1_000;

/// What the file says; `None` where something was reported.
pub(super) fn read_sql(report: &mut Report<'_>, form: &Form<'_>, schema: Option<&Value>) -> Option<SqlTool> {
    let expected = "one statement, such as select total from invoice where id = {invoice_id}";
    let text = form.required(report, "statement", expected);
    let database = read_database(report, form);
    let row_limit = form.small_number(report, "row_limit", ROW_LIMIT).unwrap_or(ROWS);
    let text = text?;
    match sql::parse(&text) {
        Ok(statement) => check_statement(report, form, (&statement, schema)),
        Err(error) => {
            let expected = match error {
                SqlError::Parameter(_) => "{field}, which becomes a parameter",
                SqlError::Several => "one statement for each tool",
                SqlError::NotAField(_) => "{field}: a statement holds no secrets",
                SqlError::Unclosed(_) | SqlError::Unopened | SqlError::Empty | SqlError::Nothing => expected,
            };
            report.mistake(&form.at("statement"), error.to_string(), expected);
        }
    }
    Some(SqlTool {
        statement: text,
        database,
        row_limit,
    })
}

fn read_database(report: &mut Report<'_>, form: &Form<'_>) -> Option<String> {
    let database = form.text(report, "database")?;
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if database.len() > DATABASE_NAME_CHARS_MAX || !database.bytes().all(is_inner) {
        report.mistake(
            &form.at("database"),
            quote(&database),
            "a name of the worker's configuration: lower-case letters, digits, _ and -, at most 63",
        );
    }
    Some(database)
}

fn check_statement(report: &mut Report<'_>, form: &Form<'_>, (statement, schema): (&Statement, Option<&Value>)) {
    let path = form.at("statement");
    if !statement.is_sound() {
        let verb = statement.verb().unwrap_or_default();
        let expected = "select, values, table, insert, update, delete, merge, or one of these behind a with";
        report.mistake(&path, format!("a statement that begins with {}", quote(verb)), expected);
    } else if statement.returns_rows() && statement.has_writing_part() {
        let expected = "the writing part as the statement itself, with returning, or without rows";
        report.mistake(&path, "a with of which a part writes, and rows at its end", expected);
    }
    if statement.spares_nothing() {
        report.warning(&path, "a change of every row", "a where");
    }
    // A schema that could not be read has been reported.
    let Some(properties) = schema.map(|schema| schema["properties"].as_object()) else {
        return;
    };
    let names: Vec<&str> = properties
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    for field in &statement.fields {
        if !names.contains(&field.as_str()) {
            let expected = match names.as_slice() {
                [] => "a property of the input schema, which has none".to_owned(),
                names => format!("one of the input's properties: {}", names.join(", ")),
            };
            report.mistake(&path, format!("{{{field}}}"), expected);
        }
    }
    if let Some(field) = statement.quoted_field(names.iter().copied()) {
        let expected = format!("{{{field}}} without quotes: it becomes a parameter, and within quotes it is only text");
        report.mistake(&path, format!("{{{field}}} within quotes"), expected);
    }
}

/// The effect says where a statement runs, so it is never left to a default.
pub(super) fn check_effect(report: &mut Report<'_>, form: &Form<'_>, (sql, effect): (&SqlTool, Option<Effect>)) {
    let path = form.at("effect");
    let expected = "\"read_only\" with a database, or \"transactional\" on the engine's own";
    let statement = sql::parse(&sql.statement).ok();
    match effect {
        Some(Effect::ReadOnly) => {
            if sql.database.is_none() {
                let expected = "the name of a database in the worker's configuration";
                report.missing(&form.at("database"), expected);
            }
            if statement.is_some_and(|statement| statement.is_sound() && !statement.reads()) {
                report.mistake(&form.at("statement"), "a statement that writes", "one that reads");
            }
        }
        Some(Effect::Transactional) => {
            if let Some(database) = &sql.database {
                let expected = "none: a transactional tool writes where its result is recorded, in the engine's own";
                report.mistake(&form.at("database"), quote(database), expected);
            }
            let own = |statement: &Statement| OWN_SCHEMAS.into_iter().find(|schema| statement.names_schema(schema));
            if let Some(schema) = statement.as_ref().and_then(own) {
                let expected = "tables of your own: no tool touches the engine's";
                report.mistake(&form.at("statement"), format!("the schema {schema}"), expected);
            }
        }
        Some(effect @ (Effect::Idempotent | Effect::AtMostOnce)) => {
            report.mistake(&path, quote(effect.as_str()), expected);
        }
        // One that was given and not understood has been reported.
        None if form.has("effect") => {}
        None => report.missing(&path, expected),
    }
}
