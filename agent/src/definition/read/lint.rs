//! Warnings: what can be applied and will work, but makes a model choose or call worse.

use super::form::Form;
use super::report::{Path, Report, quote};
use super::subschema::each_subschema;
use crate::definition::ToolAction;
use crate::definition::limits::{DESCRIPTION_CHARS_SHORT, DESCRIPTION_CHARS_WARN, PROPERTIES_WARN};
use crate::effect::Effect;
use crate::tool::address::AllowedHost;
use crate::tool::url::UrlTemplate;
use serde_json::Value;

/// Words of which a description that says when to use its tool has one.
const WHEN: [&str; 6] = ["use ", "when", "before", "after", "first", "whenever"];

/// Words of which a description that says when not to use its tool has one.
const WHEN_NOT: [&str; 8] = ["not ", "n't", "never", "only", "instead", "unless", "except", "cannot"];

/// Properties that say which of several things a tool is to do.
const CHOOSERS: [&str; 6] = ["action", "command", "method", "operation", "task", "verb"];

/// One tool does one thing.
pub(super) fn name(report: &mut Report<'_>, path: &Path, name: &str) {
    if name.to_ascii_lowercase().replace('-', "_").contains("_and_") {
        report.warning(
            path,
            quote(name),
            "a tool that does one thing: models use two small ones better",
        );
    }
}

/// A description says what the tool is for, when to use it and when not to.
pub(super) fn description(report: &mut Report<'_>, path: &Path, text: &str) {
    let expected = "what the tool does, when to use it and when not to";
    let chars = text.trim().chars().count();
    if chars == 0 {
        return report.warning(path, "no description", expected);
    }
    if chars < DESCRIPTION_CHARS_SHORT {
        return report.warning(path, format!("{chars} characters"), expected);
    }
    if chars > DESCRIPTION_CHARS_WARN {
        report.warning(
            path,
            format!("{chars} characters"),
            format!("at most {DESCRIPTION_CHARS_WARN}"),
        );
    }
    // The words are English; another language is not judged.
    if !text.is_ascii() && text.chars().any(|c| c.is_alphabetic() && !c.is_ascii()) {
        return;
    }
    let lower = text.to_lowercase();
    if !WHEN.iter().any(|word| lower.contains(word)) {
        report.warning(path, "no word of when to use the tool", expected);
    }
    if !WHEN_NOT.iter().any(|word| lower.contains(word)) {
        report.warning(path, "no word of when not to use the tool", expected);
    }
}

/// Properties are documented, and the model is not left to invent them.
pub(super) fn schema(report: &mut Report<'_>, path: &Path, schema: &Value) {
    let has_properties = schema["properties"]
        .as_object()
        .is_some_and(|properties| !properties.is_empty());
    if !has_properties && schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        report.warning(
            path,
            "a schema that takes anything",
            "properties, or additionalProperties = false",
        );
    }
    one_thing(report, path, schema);
    each_subschema(schema, "", &mut |pointer, inner| {
        for (name, property) in inner.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let is_told = property["description"]
                .as_str()
                .is_some_and(|text| !text.trim().is_empty());
            if !is_told && property.get("$ref").is_none() {
                let path = path.pointer(pointer).key("properties").key(name);
                report.warning(
                    &path,
                    "a property without description",
                    "a line that tells the model what goes there",
                );
            }
        }
    });
}

/// A tool that asks which of several things it is to do, or that asks for a great deal, does more than one thing.
fn one_thing(report: &mut Report<'_>, path: &Path, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let expected = "a tool that does one thing: models use two small ones better";
    if properties.len() > PROPERTIES_WARN {
        let found = format!("{} properties, which is much for one thing", properties.len());
        report.warning(&path.key("properties"), found, expected);
    }
    for (name, property) in properties {
        let choices = property["enum"].as_array().map_or(0, Vec::len);
        if CHOOSERS.contains(&name.to_ascii_lowercase().as_str()) && choices > 1 {
            let found = format!("a choice of {choices} things to do");
            report.warning(&path.key("properties").key(name), found, expected);
        }
    }
}

/// A URL that leads where no tool may go by itself: each call would be refused.
pub(super) fn host(report: &mut Report<'_>, form: &Form<'_>, action: &ToolAction) {
    let ToolAction::Http(http) = action else { return };
    let Some((host, port)) = UrlTemplate::parse(&http.url).ok().and_then(|url| url.host()) else {
        return;
    };
    let is_allowed = http
        .allow_hosts
        .iter()
        .filter_map(|text| AllowedHost::parse(text))
        .any(|allowed| allowed.admits(&host, port));
    if host.is_inside() && !is_allowed {
        let expected = "the host in allow_hosts if it is meant: tools reach the public internet only";
        report.warning(&form.at("url"), "a host that is not on the public internet", expected);
    }
}

/// An effect that is stricter or laxer than the method suggests.
pub(super) fn effect(report: &mut Report<'_>, form: &Form<'_>, effect: Option<Effect>, action: &ToolAction) {
    let ToolAction::Http(http) = action else { return };
    match (http.method.as_str(), effect) {
        ("GET" | "HEAD", None) => {
            let found = format!(
                "no effect, so that a lost reply to this {} waits for a person",
                http.method
            );
            report.warning(
                &form.at("effect"),
                found,
                "effect = \"read_only\" if it changes nothing",
            );
        }
        ("PUT" | "PATCH" | "DELETE", Some(Effect::ReadOnly)) => {
            let found = format!("read_only with {}", http.method);
            report.warning(
                &form.at("effect"),
                found,
                "idempotent or at_most_once, unless it really changes nothing",
            );
        }
        _ => {}
    }
}
