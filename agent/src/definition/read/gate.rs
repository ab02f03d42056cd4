//! The tables `breaker` and `limit`.

use super::form::Form;
use super::report::{Report, quote};
use crate::definition::limits::{CONCURRENCY, COOLDOWN_SECONDS, FAILURES, NAME_CHARS_MAX, PER_SECONDS, RATE_CALLS};
use crate::gate::{Breaker, CallLimit, Rate};
use serde_json::Value;

/// The table `breaker`, each key with its own default.
pub(super) fn read_breaker(report: &mut Report<'_>, form: &Form<'_>) -> Breaker {
    let form = form.section(report, "breaker");
    form.only(report, &["enabled", "failures", "cooldown_seconds"]);
    let usual = Breaker::default();
    let enabled = form.flag(report, "enabled").unwrap_or(usual.enabled);
    let failures = form.small_number(report, "failures", FAILURES);
    let cooldown_seconds = form.small_number(report, "cooldown_seconds", COOLDOWN_SECONDS);
    if !enabled && (form.has("failures") || form.has("cooldown_seconds")) {
        report.mistake(
            &form.at("enabled"),
            "false beside numbers",
            "either no breaker, or its numbers",
        );
    }
    Breaker {
        enabled,
        failures: failures.unwrap_or(usual.failures),
        cooldown_seconds: cooldown_seconds.unwrap_or(usual.cooldown_seconds),
    }
}

/// The table `limit`; `None` where there is none, or where something was reported.
pub(super) fn read_limit(report: &mut Report<'_>, form: &Form<'_>, input: Option<&Value>) -> Option<CallLimit> {
    if !form.has("limit") {
        return None;
    }
    let form = form.section(report, "limit");
    form.only(report, &["concurrency", "rate", "key"]);
    let concurrency = form.small_number(report, "concurrency", CONCURRENCY);
    let rate = form.has("rate").then(|| read_rate(report, &form)).flatten();
    let key = form.text(report, "key");
    if !form.has("concurrency") && !form.has("rate") {
        report.missing(
            &form.path,
            "concurrency = 5, or rate = { calls = 60, per_seconds = 60 }, or both",
        );
        return None;
    }
    let limit = CallLimit { concurrency, rate, key };
    has_sound_key(report, &form, (&limit, input)).then_some(limit)
}

fn read_rate(report: &mut Report<'_>, form: &Form<'_>) -> Option<Rate> {
    let form = form.section(report, "rate");
    form.only(report, &["calls", "per_seconds"]);
    for key in ["calls", "per_seconds"] {
        if !form.has(key) {
            report.missing(&form.at(key), "rate = { calls = 60, per_seconds = 60 }");
        }
    }
    let calls = form.small_number(report, "calls", RATE_CALLS);
    let per_seconds = form.small_number(report, "per_seconds", PER_SECONDS);
    Some(Rate {
        calls: calls?,
        per_seconds: per_seconds?,
    })
}

/// A key takes fields that every input has, or else calls could not be told apart.
fn has_sound_key(report: &mut Report<'_>, form: &Form<'_>, (limit, input): (&CallLimit, Option<&Value>)) -> bool {
    let expected = "a template of the input's fields, such as \"{customer_id}\"";
    let Some(key) = &limit.key else { return true };
    let fields = match limit.fields() {
        Ok(fields) => fields,
        Err(found) => {
            report.mistake(&form.at("key"), found, expected);
            return false;
        }
    };
    if fields.is_empty() || key.len() > NAME_CHARS_MAX {
        let found = format!("{}, which is the same for all calls", quote(key));
        report.mistake(&form.at("key"), found, expected);
        return false;
    }
    let Some(schema) = input else { return true };
    let mut is_sound = true;
    for field in fields {
        let property = schema["properties"].get(&field);
        let is_required = schema["required"]
            .as_array()
            .is_some_and(|required| required.iter().any(|name| name == field.as_str()));
        let found = match property {
            None => format!("{{{field}}}, which is no field of the input"),
            Some(property) if !is_required && property.get("default").is_none() => {
                format!("{{{field}}}, which an input may leave out")
            }
            Some(_) => continue,
        };
        report.mistake(&form.at("key"), found, "a field that is required, or has a default");
        is_sound = false;
    }
    is_sound
}
