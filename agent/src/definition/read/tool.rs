//! The tables `[[tool]]`.

use super::action::{Kind, read_action};
use super::form::{Form, closest};
use super::report::{Report, quote, shown};
use super::root::{is_short, read_retry};
use super::{fallback, gate, lint, probe, sanitise, schema, sql, strict};
use crate::definition::limits::{TIMEOUT_SECONDS, TOOL_NAME_CHARS_MAX, TOOLS_MAX};
use crate::definition::{OnError, RetryPolicy, Tool, ToolAction};
use crate::effect::Effect;
use toml::de::DeValue;

/// Keys that every kind of tool has.
const COMMON: [&str; 17] = [
    "name",
    "description",
    "kind",
    "effect",
    "input",
    "strict",
    "timeout_seconds",
    "retry",
    "on_error",
    "probe",
    "cache",
    "fallback",
    "after",
    "parallel",
    "sanitise",
    "breaker",
    "limit",
];

const KINDS: [(&str, Kind); 4] = [
    ("http", Kind::Http),
    ("command", Kind::Command),
    ("function", Kind::Function),
    ("sql", Kind::Sql),
];

const EFFECTS: [(&str, Effect); 4] = [
    (Effect::ReadOnly.as_str(), Effect::ReadOnly),
    (Effect::Idempotent.as_str(), Effect::Idempotent),
    (Effect::Transactional.as_str(), Effect::Transactional),
    (Effect::AtMostOnce.as_str(), Effect::AtMostOnce),
];

const ON_ERROR: [(&str, OnError); 2] = [("tell_model", OnError::TellModel), ("fail_run", OnError::FailRun)];

const TOOL_RETRY: RetryPolicy = RetryPolicy {
    attempts_max: 3,
    initial_ms: 1_000,
    cap_ms: 30_000,
    horizon_seconds: 600,
};

/// The tools that could be read; what is wrong with the others was reported.
pub(super) fn read_tools(report: &mut Report<'_>, form: &Form<'_>) -> Vec<Tool> {
    if let Some(DeValue::Table(_)) = form.value("tool") {
        report.mistake(&form.at("tool"), "a single table", "[[tool]], in double brackets");
        return Vec::new();
    }
    let items = form.list(report, "tool", TOOLS_MAX).unwrap_or_default();
    let mut tools = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (path, item) in items {
        let DeValue::Table(table) = item else {
            report.mistake(&path, shown(item), "a [[tool]] table");
            continue;
        };
        let form = Form::new(path, table);
        if let Some(name) = read_name(report, &form) {
            match names.iter().position(|other| *other == name) {
                Some(other) => {
                    let found = format!("{}, which is the name of tool[{other}]", quote(&name));
                    report.mistake(&form.at("name"), found, "a name of its own");
                }
                None => lint::name(report, &form.at("name"), &name),
            }
            names.push(name.clone());
            tools.extend(read_tool(report, &form, name));
        } else {
            names.push(String::new());
            read_tool(report, &form, String::new());
        }
    }
    strict::check_together(report, &form.at("tool"), &tools);
    probe::check_together(report, form, &tools);
    fallback::check_together(report, form, &tools);
    tools
}

fn read_name(report: &mut Report<'_>, form: &Form<'_>) -> Option<String> {
    let expected = "1 to 64 letters, digits, _ and -";
    let name = form.required(report, "name", expected)?;
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.len() > TOOL_NAME_CHARS_MAX || !name.bytes().all(is_inner) {
        report.mistake(&form.at("name"), quote(&name), expected);
        return None;
    }
    Some(name)
}

fn read_tool(report: &mut Report<'_>, form: &Form<'_>, name: String) -> Option<Tool> {
    let kind = read_kind(report, form);
    refuse_unknown(report, form, kind);
    let description = form.text(report, "description").unwrap_or_default();
    if is_short(report, &form.at("description"), &description) {
        lint::description(report, &form.at("description"), &description);
    }
    let effect = form.choice(report, "effect", &EFFECTS);
    let strict = form.flag(report, "strict").unwrap_or(false);
    let input = schema::read_schema(report, form, kind);
    if let Some(schema) = &input {
        lint::schema(report, &form.at("input"), schema);
        if strict {
            strict::check(report, &form.at("input"), schema);
        }
    } else if strict && kind == Some(Kind::Function) && !form.has("input") {
        report.mistake(
            &form.at("strict"),
            "true without a schema",
            "an input table, or strict left out",
        );
    }
    let timeout_seconds = form
        .small_number(report, "timeout_seconds", TIMEOUT_SECONDS)
        .unwrap_or(30);
    let retry = read_retry(report, form, &TOOL_RETRY);
    let on_error = form.choice(report, "on_error", &ON_ERROR).unwrap_or(OnError::TellModel);
    let probe = probe::read_probe(report, form);
    let cache = fallback::read_cache(report, form);
    let fallback = fallback::read_fallbacks(report, form, &name);
    let after = fallback::read_after(report, form);
    let parallel = form.flag(report, "parallel").unwrap_or(true);
    let sanitise = sanitise::read_sanitise(report, form);
    let breaker = gate::read_breaker(report, form);
    let limit = gate::read_limit(report, form, input.as_ref());
    let action = read_action(report, form, kind?, (&name, input.as_ref()))?;
    check_effect(report, form, (effect, &action));
    lint::effect(report, form, effect, &action);
    lint::host(report, form, &action);
    let effect = effect.unwrap_or(Effect::AtMostOnce);
    Some(Tool {
        name,
        description,
        effect,
        input,
        strict,
        timeout_seconds,
        retry,
        on_error,
        probe,
        cache,
        fallback,
        after,
        parallel,
        sanitise,
        breaker,
        limit,
        action,
    })
}

/// What a tool of that kind can promise.
fn check_effect(report: &mut Report<'_>, form: &Form<'_>, (effect, action): (Option<Effect>, &ToolAction)) {
    match action {
        ToolAction::Sql(tool) => sql::check_effect(report, form, (tool, effect)),
        ToolAction::Http(_) | ToolAction::Command(_) | ToolAction::Function(_) => {
            if effect == Some(Effect::Transactional) {
                let expected = "\"read_only\", \"idempotent\" or \"at_most_once\": only a sql tool writes where its result is recorded";
                report.mistake(&form.at("effect"), quote(Effect::Transactional.as_str()), expected);
            }
        }
    }
}

fn read_kind(report: &mut Report<'_>, form: &Form<'_>) -> Option<Kind> {
    if !form.has("kind") {
        report.missing(&form.at("kind"), "one of http, command, function, sql");
    }
    form.choice(report, "kind", &KINDS)
}

/// A key of another kind is told apart from one that no kind knows.
fn refuse_unknown(report: &mut Report<'_>, form: &Form<'_>, kind: Option<Kind>) {
    let own = kind.map_or(Vec::new(), |kind| kind.keys().to_vec());
    for key in form.keys() {
        if COMMON.contains(&key) || own.contains(&key) {
            continue;
        }
        let owner = KINDS.iter().find(|(_, other)| other.keys().contains(&key));
        match (owner, kind) {
            (Some((owner, _)), Some(kind)) => {
                let found = format!("a key of {owner} tools");
                let expected = format!("none such in a tool of kind {}", kind.as_str());
                report.mistake(&form.at(key), found, expected);
            }
            // Which keys are right is open while the kind is.
            (Some(_), None) => {}
            (None, _) => {
                let known: Vec<&str> = COMMON.iter().chain(&own).copied().collect();
                report.mistake(&form.at(key), "an unknown key", closest(key, &known));
            }
        }
    }
}
