//! `strict = true`: the part of JSON Schema that the provider can enforce while the model writes.
//!
//! What it cannot enforce it answers with a 400 at the first call of a run; here it is a mistake of the file.

use super::report::{Path, Report};
use super::subschema::each_subschema;
use crate::definition::Tool;
use crate::definition::limits::{STRICT_OPTIONAL_MAX, STRICT_TOOLS_MAX, STRICT_UNIONS_MAX};
use serde_json::Value;

/// Keywords that the provider refuses.
const REFUSED: [&str; 11] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "$dynamicRef",
    "minProperties",
    "maxProperties",
];

const LOOK_AROUND: [&str; 4] = ["(?=", "(?!", "(?<=", "(?<!"];

/// Whether one tool's schema can be enforced.
pub(super) fn check(report: &mut Report<'_>, path: &Path, schema: &Value) {
    each_subschema(schema, "", &mut |pointer, inner| {
        let path = path.pointer(pointer);
        if is_object(inner) && inner.get("additionalProperties") != Some(&Value::Bool(false)) {
            let expected = "additionalProperties = false on every object of a strict tool";
            report.mistake(&path, "an open object", expected);
        }
        for keyword in REFUSED {
            if inner.get(keyword).is_some() {
                report.mistake(
                    &path.key(keyword),
                    keyword,
                    "no such keyword in a strict tool, or strict = false",
                );
            }
        }
        if inner
            .get("minItems")
            .is_some_and(|number| number.as_u64().is_none_or(|number| number > 1))
        {
            report.mistake(
                &path.key("minItems"),
                inner["minItems"].to_string(),
                "0 or 1 in a strict tool",
            );
        }
        let pattern = inner.get("pattern").and_then(Value::as_str).unwrap_or_default();
        if LOOK_AROUND.iter().any(|look| pattern.contains(look)) {
            report.mistake(
                &path.key("pattern"),
                "look-around",
                "a pattern without it in a strict tool",
            );
        }
        if let Some(target) = inner.get("$ref").and_then(Value::as_str)
            && is_recursive(schema, target)
        {
            report.mistake(
                &path.key("$ref"),
                "a schema that holds itself",
                "no recursion in a strict tool",
            );
        }
    });
}

fn is_object(schema: &Value) -> bool {
    let kind = &schema["type"];
    let names_object = kind == "object"
        || kind
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"));
    names_object || schema.get("properties").is_some()
}

/// Whether following references from that target leads to it again. An anchor counts as recursive: it cannot be
/// followed here, and the provider does not know it.
fn is_recursive(schema: &Value, target: &str) -> bool {
    let mut seen: Vec<String> = Vec::new();
    let mut open = vec![target.to_owned()];
    while let Some(next) = open.pop() {
        // What points out of the schema, or at nothing in it, has been reported.
        let Some(pointer) = next.strip_prefix('#') else {
            continue;
        };
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return true;
        }
        let Some(part) = schema.pointer(pointer) else { continue };
        let mut is_cycle = false;
        each_subschema(part, "", &mut |_, inner| {
            if let Some(found) = inner.get("$ref").and_then(Value::as_str) {
                is_cycle |= found == target || target.starts_with(&format!("{found}/")) || found == "#";
                if !seen.iter().any(|other| other == found) {
                    seen.push(found.to_owned());
                    open.push(found.to_owned());
                }
            }
        });
        if is_cycle {
            return true;
        }
    }
    false
}

/// What the provider bounds over all strict tools of one request.
pub(super) fn check_together(report: &mut Report<'_>, path: &Path, tools: &[Tool]) {
    let strict: Vec<&Value> = tools
        .iter()
        .filter(|tool| tool.strict)
        .filter_map(|tool| tool.input.as_ref())
        .collect();
    let (mut optional, mut unions) = (0, 0);
    for schema in &strict {
        each_subschema(schema, "", &mut |_, inner| {
            let properties = inner
                .get("properties")
                .and_then(Value::as_object)
                .map_or(0, serde_json::Map::len);
            optional += properties.saturating_sub(inner["required"].as_array().map_or(0, Vec::len));
            unions += usize::from(inner["type"].is_array() || inner.get("anyOf").is_some());
        });
    }
    for (count, max, what) in [
        (strict.len(), STRICT_TOOLS_MAX, "strict tools"),
        (optional, STRICT_OPTIONAL_MAX, "optional properties in strict tools"),
        (unions, STRICT_UNIONS_MAX, "properties of several types in strict tools"),
    ] {
        if count > max {
            report.mistake(
                path,
                format!("{count} {what}"),
                format!("at most {max}, which is the provider's limit"),
            );
        }
    }
}
