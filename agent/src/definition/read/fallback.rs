//! What a tool says of calls that fail, and of the order of its calls: `cache`, `fallback`, `after`.

use super::form::Form;
use super::report::{Path, Report, quote, shown};
use super::schema::from_toml;
use crate::definition::Tool;
use crate::definition::limits::{FALLBACKS_MAX, NOTE_CHARS_MAX, SAMPLE_ROWS, STALE_SECONDS, TOOLS_MAX, TTL_SECONDS};
use crate::effect::Effect;
use crate::fallback::{CachePolicy, Escalation, Fallback, Priority, Substitute};
use crate::order;
use serde_json::{Map, Value};
use toml::de::DeValue;

const PRIORITIES: [(&str, Priority); 3] = [
    ("low", Priority::Low),
    ("normal", Priority::Normal),
    ("high", Priority::High),
];

/// Rows that a sample asks for where nothing is said.
const ROWS: u32 = 10_000;

const FORMS: &str =
    "{ tool = NAME }, { input = {…} }, { sampled = true, input = {…} } or { person = { priority = \"high\" } }";

/// The table `cache`; `None` where there is none.
pub(super) fn read_cache(report: &mut Report<'_>, form: &Form<'_>) -> Option<CachePolicy> {
    if !form.has("cache") {
        return None;
    }
    let form = form.section(report, "cache");
    form.only(report, &["ttl_seconds", "stale_on_error_seconds", "per_requester"]);
    let ttl_seconds = form.small_number(report, "ttl_seconds", TTL_SECONDS).unwrap_or(300);
    let stale = form
        .small_number(report, "stale_on_error_seconds", STALE_SECONDS)
        .unwrap_or(0);
    if stale > 0 && stale < ttl_seconds {
        let found = format!("{stale}, below ttl_seconds");
        let expected = format!("0, or at least {ttl_seconds}: what is fresh may be told in any case");
        report.mistake(&form.at("stale_on_error_seconds"), found, expected);
    }
    Some(CachePolicy {
        ttl_seconds,
        stale_on_error_seconds: stale,
        per_requester: form.flag(report, "per_requester").unwrap_or(false),
    })
}

/// The list `after`.
pub(super) fn read_after(report: &mut Report<'_>, form: &Form<'_>) -> Vec<String> {
    let named = form.texts(report, "after", TOOLS_MAX).unwrap_or_default();
    named.into_iter().map(|(_, name)| name).collect()
}

/// The list `fallback` of a tool with that name.
pub(super) fn read_fallbacks(report: &mut Report<'_>, form: &Form<'_>, name: &str) -> Vec<Fallback> {
    let items = form.list(report, "fallback", FALLBACKS_MAX).unwrap_or_default();
    let last = items.len().saturating_sub(1);
    let mut fallbacks = Vec::new();
    for (at, (path, item)) in items.into_iter().enumerate() {
        let DeValue::Table(table) = item else {
            report.mistake(&path, shown(item), FORMS);
            continue;
        };
        let form = Form::new(path, table);
        if form.has("person") {
            form.only(report, &["person"]);
            if at < last {
                report.mistake(
                    &form.path,
                    "a person before other fallbacks",
                    "a person as the last one",
                );
            }
            fallbacks.push(Fallback::Person(read_person(report, &form)));
        } else {
            fallbacks.extend(read_substitute(report, &form, name).map(Fallback::Call));
        }
    }
    fallbacks
}

fn read_person(report: &mut Report<'_>, form: &Form<'_>) -> Escalation {
    let form = form.section(report, "person");
    form.only(report, &["priority", "note"]);
    Escalation {
        priority: form.choice(report, "priority", &PRIORITIES).unwrap_or(Priority::Normal),
        note: read_note(report, &form),
    }
}

fn read_note(report: &mut Report<'_>, form: &Form<'_>) -> Option<String> {
    let note = form.text(report, "note")?;
    if note.chars().count() > NOTE_CHARS_MAX {
        report.mistake(
            &form.at("note"),
            quote(&note),
            format!("at most {NOTE_CHARS_MAX} characters"),
        );
    }
    Some(note)
}

fn read_substitute(report: &mut Report<'_>, form: &Form<'_>, name: &str) -> Option<Substitute> {
    form.only(
        report,
        &["tool", "input", "simplified", "sampled", "rows", "note", "person"],
    );
    let tool = form.text(report, "tool");
    let sampled = form.flag(report, "sampled").unwrap_or(false);
    let rows = form.small_number(report, "rows", SAMPLE_ROWS);
    let input = match form.value("input") {
        Some(value @ DeValue::Table(_)) => from_toml(report, &form.at("input"), value, 1)?.as_object().cloned()?,
        Some(other) => {
            report.mistake(&form.at("input"), shown(other), "a table");
            return None;
        }
        None => Map::new(),
    };
    let is_other = tool.as_deref().is_some_and(|tool| tool != name);
    if !is_other && input.is_empty() {
        report.mistake(&form.path, "a fallback that is the same call once more", FORMS);
        return None;
    }
    if rows.is_some() && !sampled {
        report.mistake(
            &form.at("rows"),
            "rows of what is no sample",
            "sampled = true beside it",
        );
    }
    let simplified = form.flag(report, "simplified").unwrap_or(!is_other && !sampled);
    let substitute = Substitute {
        tool: tool.unwrap_or_else(|| name.to_owned()),
        input,
        simplified,
        sample_rows: sampled.then(|| rows.unwrap_or(ROWS)),
        note: read_note(report, form),
    };
    if let Err(found) = substitute.fields() {
        report.mistake(
            &form.at("input"),
            found,
            "{field} of the call's input, or {rows} in a sample",
        );
        return None;
    }
    Some(substitute)
}

/// Tools that name each other fit together.
pub(super) fn check_together(report: &mut Report<'_>, form: &Form<'_>, tools: &[Tool]) {
    let Some(tables) = form.value("tool").and_then(DeValue::as_array) else {
        return;
    };
    for (index, table) in tables.iter().enumerate() {
        let path = form.at("tool").index(index);
        let name = table.get_ref().get("name").and_then(|name| name.get_ref().as_str());
        let Some(tool) = tools.iter().find(|tool| Some(tool.name.as_str()) == name) else {
            continue;
        };
        if tool.cache.is_some() && tool.effect != Effect::ReadOnly {
            let found = format!("a cache for a tool that is {}", tool.effect.as_str());
            report.mistake(
                &path.key("cache"),
                found,
                "none: what a tool does is never answered from a cache",
            );
        }
        for (at, before) in tool.after.iter().enumerate() {
            if !is_named(form, before) {
                report.mistake(
                    &path.key("after").index(at),
                    quote(before),
                    "the name of a tool of this agent",
                );
            }
        }
        for (at, fallback) in tool.fallback.iter().enumerate() {
            if let Fallback::Call(substitute) = fallback {
                let path = path.key("fallback").index(at);
                check_substitute(report, form, (&path, tool, substitute), tools);
            }
        }
    }
    check_ring(report, form, tools);
}

/// Whether a tool has that name, be it one that could not be read.
fn is_named(form: &Form<'_>, name: &str) -> bool {
    let tables = form.value("tool").and_then(DeValue::as_array);
    let mut names = tables
        .into_iter()
        .flatten()
        .filter_map(|table| table.get_ref().get("name"));
    names.any(|known| known.get_ref().as_str() == Some(name))
}

fn check_substitute(
    report: &mut Report<'_>,
    form: &Form<'_>,
    (path, tool, substitute): (&Path, &Tool, &Substitute),
    tools: &[Tool],
) {
    if !is_named(form, &substitute.tool) {
        return report.mistake(
            &path.key("tool"),
            quote(&substitute.tool),
            "the name of a tool of this agent",
        );
    }
    let other = tools.iter().find(|other| other.name == substitute.tool);
    if let Some(other) = other.filter(|other| tool.effect == Effect::ReadOnly && other.effect != Effect::ReadOnly) {
        let found = format!("{}, which is {}", quote(&other.name), other.effect.as_str());
        report.mistake(
            &path.key("tool"),
            found,
            "a tool that is read_only, as the one that is called",
        );
    }
    let properties = |tool: &Tool| -> Option<Vec<String>> {
        let schema: &Value = tool.input.as_ref()?;
        Some(schema["properties"].as_object()?.keys().cloned().collect())
    };
    let known = properties(tool);
    let is_unknown = |field: &String| known.as_ref().is_some_and(|known| !known.contains(field));
    for field in substitute
        .fields()
        .unwrap_or_default()
        .iter()
        .filter(|field| is_unknown(field))
    {
        let found = format!("{{{field}}}, which is no field of {}", quote(&tool.name));
        report.mistake(
            &path.key("input"),
            found,
            "{field} of the call's input, or {rows} in a sample",
        );
    }
    let closed = other.filter(|other| {
        other
            .input
            .as_ref()
            .is_some_and(|schema| schema.get("additionalProperties") == Some(&Value::Bool(false)))
    });
    let taken = closed.and_then(properties).unwrap_or_default();
    for name in substitute
        .input
        .keys()
        .filter(|name| closed.is_some() && !taken.contains(*name))
    {
        let found = format!("{name}, which is no field of {}", quote(&substitute.tool));
        report.mistake(&path.key("input"), found, "a field that the tool takes");
    }
}

/// Tools that come after each other in a ring would wait for ever.
fn check_ring(report: &mut Report<'_>, form: &Form<'_>, tools: &[Tool]) {
    let Some(ring) = order::ring(tools) else { return };
    let Some(first) = ring.first() else { return };
    let tables = form.value("tool").and_then(DeValue::as_array);
    let at = tables.into_iter().flatten().position(|table| {
        let name = table.get_ref().get("name").and_then(|name| name.get_ref().as_str());
        name == Some(first.as_str())
    });
    let path = form.at("tool").index(at.unwrap_or_default()).key("after");
    let mut round = ring.clone();
    round.push(first.clone());
    report.mistake(
        &path,
        format!("a ring: {}", round.join(" after ")),
        "an order in which some tool comes first",
    );
}
