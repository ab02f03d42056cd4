//! A tool's table `sanitise`.

use super::form::Form;
use super::report::{Report, quote, shown};
use crate::definition::limits::{MAX_CHARS, PATTERN_CHARS_MAX, RULES_MAX, WITH_CHARS_MAX};
use crate::sanitise::{Change, Rule, Sanitise, compile};
use toml::de::DeValue;

const FORMS: &str = "{ trim = true }, { replace = PATTERN, with = TEXT }, { redact = PLACE }, { remove = PLACE } or \
                     { max_chars = 500 }";

/// What the file says; nothing where there is no such table.
pub(super) fn read_sanitise(report: &mut Report<'_>, form: &Form<'_>) -> Sanitise {
    let form = form.section(report, "sanitise");
    form.only(report, &["input", "output"]);
    Sanitise {
        input: read_rules(report, &form, "input"),
        output: read_rules(report, &form, "output"),
    }
}

fn read_rules(report: &mut Report<'_>, form: &Form<'_>, key: &str) -> Vec<Rule> {
    let items = form.list(report, key, RULES_MAX).unwrap_or_default();
    let mut rules = Vec::new();
    for (path, item) in items {
        match item {
            DeValue::Table(table) => rules.extend(read_rule(report, &Form::new(path, table))),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => report.mistake(&path, shown(item), FORMS),
        }
    }
    rules
}

fn read_rule(report: &mut Report<'_>, form: &Form<'_>) -> Option<Rule> {
    form.only(
        report,
        &["at", "trim", "replace", "with", "redact", "remove", "max_chars"],
    );
    let changes = ["trim", "replace", "redact", "remove", "max_chars"];
    let given: Vec<&str> = changes.into_iter().filter(|key| form.has(key)).collect();
    let [change] = given.as_slice() else {
        report.mistake(&form.path, format!("{} changes in one rule", given.len()), FORMS);
        return None;
    };
    if form.has("with") && *change != "replace" {
        report.mistake(&form.at("with"), "with, and nothing to replace", FORMS);
    }
    if form.has("at") && matches!(*change, "redact" | "remove") {
        report.mistake(&form.at("at"), "two places", "the place in the rule's own key");
    }
    let at = read_place(report, form, "at");
    let place = |report: &mut Report<'_>, change: Change, key: &str| {
        Some(Rule {
            at: Some(read_place(report, form, key)?),
            change,
        })
    };
    match *change {
        "redact" => place(report, Change::Redact, "redact"),
        "remove" => place(report, Change::Remove, "remove"),
        "trim" => match form.flag(report, "trim")? {
            true => Some(Rule {
                at,
                change: Change::Trim,
            }),
            false => None,
        },
        "replace" => Some(Rule {
            at,
            change: read_replace(report, form)?,
        }),
        _ => Some(Rule {
            at,
            change: Change::MaxChars(form.small_number(report, "max_chars", MAX_CHARS)?),
        }),
    }
}

fn read_replace(report: &mut Report<'_>, form: &Form<'_>) -> Option<Change> {
    let pattern = form.text(report, "replace")?;
    if pattern.chars().count() > PATTERN_CHARS_MAX {
        let expected = format!("at most {PATTERN_CHARS_MAX} characters");
        report.mistake(&form.at("replace"), quote(&pattern), expected);
        return None;
    }
    if let Err(found) = compile(&pattern) {
        let found = format!("{}: {found}", quote(&pattern));
        report.mistake(&form.at("replace"), found, "a regular expression without look-around");
        return None;
    }
    let with = match form.value("with") {
        None => {
            report.missing(
                &form.at("with"),
                "what stands in the place of a match, such as \"[card]\"",
            );
            return None;
        }
        Some(DeValue::String(with)) => with.to_string(),
        Some(other) => {
            report.mistake(&form.at("with"), shown(other), "text");
            return None;
        }
    };
    if with.chars().count() > WITH_CHARS_MAX {
        let expected = format!("at most {WITH_CHARS_MAX} characters");
        report.mistake(&form.at("with"), quote(&with), expected);
    }
    Some(Change::Replace { pattern, with })
}

/// A place within JSON; what is no place is reported.
fn read_place(report: &mut Report<'_>, form: &Form<'_>, key: &str) -> Option<String> {
    let value = form.value(key)?;
    let place = value.as_str().filter(|text| text.starts_with('/'));
    if place.is_none() {
        let expected = "a JSON pointer, such as /customer/email or /orders/*/email";
        report.mistake(&form.at(key), shown(value), expected);
    }
    place.map(str::to_owned)
}
