//! A tool's `input`: a JSON Schema written as TOML tables or as JSON text.

use super::action::Kind;
use super::form::Form;
use super::report::{Path, Report, quote, shown};
use super::subschema::each_subschema;
use crate::tool::check::{DEPTH_MAX, build, violation};
use jsonschema::draft202012;
use serde_json::{Map, Value, json};
use toml::de::{DeFloat, DeInteger, DeValue};

const A_SCHEMA: &str = "a JSON Schema of draft 2020-12";

/// Keywords that point to another schema.
const REFERENCES: [&str; 2] = ["$ref", "$dynamicRef"];

/// What `$schema` may say.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema, checked as far as it can be; `None` where there is none or nothing came of it. One with mistakes comes
/// back too: what else the tool says is judged by it, and nothing is applied.
pub(super) fn read_schema(report: &mut Report<'_>, form: &Form<'_>, kind: Option<Kind>) -> Option<Value> {
    let path = form.at("input");
    let schema = match form.value("input") {
        Some(value @ DeValue::Table(_)) => from_toml(report, &path, value, 1)?,
        Some(DeValue::String(text)) => from_json(report, &path, text)?,
        Some(other) => {
            report.mistake(
                &path,
                shown(other),
                "a JSON Schema as a [tool.input] table or as JSON text",
            );
            return None;
        }
        None => {
            if matches!(kind, Some(Kind::Http | Kind::Command | Kind::Sql)) {
                let expected = "a [tool.input] table (for no input: type = \"object\", additionalProperties = false)";
                report.missing(&path, expected);
            }
            return None;
        }
    };
    let keeps_rules = check_own_rules(report, &path, &schema);
    if check_keywords(report, &path, &schema) && keeps_rules {
        check_compiles(report, &path, &schema);
    }
    check_defaults(report, &path, &schema);
    Some(schema)
}

fn from_json(report: &mut Report<'_>, path: &Path, text: &str) -> Option<Value> {
    // Before it is read: a parser that gives up on depth would call it no JSON.
    if depth(text) > DEPTH_MAX {
        too_deep(report, path);
        return None;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(schema) if !schema.is_object() => {
            report.mistake(path, "JSON that is no object", "a JSON Schema of type object");
            None
        }
        Ok(schema) if holds_nul(&schema) => {
            report.mistake(path, "the character U+0000", "text without it");
            None
        }
        Ok(schema) => Some(schema),
        Err(error) => {
            report.mistake(path, format!("text that is not JSON ({error})"), "a JSON Schema");
            None
        }
    }
}

pub(super) fn from_toml(report: &mut Report<'_>, path: &Path, value: &DeValue<'_>, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        too_deep(report, path);
        return None;
    }
    match value {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Integer(number) => from_integer(report, path, number),
        DeValue::Float(number) => from_float(report, path, number),
        DeValue::Datetime(_) => {
            report.mistake(path, "a date or time", "text in quotes: JSON has no dates");
            None
        }
        DeValue::Array(items) => {
            let items = items.iter().enumerate();
            // All are read before one that could not be ends it: each tells its own mistake.
            let read: Vec<Option<Value>> = items
                .map(|(index, item)| from_toml(report, &path.index(index), item.get_ref(), depth + 1))
                .collect();
            read.into_iter().collect()
        }
        DeValue::Table(table) => {
            let read: Vec<Option<(String, Value)>> = table
                .iter()
                .map(|(key, value)| {
                    let value = from_toml(report, &path.key(key.get_ref()), value.get_ref(), depth + 1)?;
                    Some((key.get_ref().to_string(), value))
                })
                .collect();
            read.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
        }
    }
}

fn from_integer(report: &mut Report<'_>, path: &Path, number: &DeInteger<'_>) -> Option<Value> {
    let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
    if value.is_none() {
        report.mistake(path, number.to_string(), "a whole number of 64 bits");
    }
    value.map(Value::from)
}

fn from_float(report: &mut Report<'_>, path: &Path, number: &DeFloat<'_>) -> Option<Value> {
    let value = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
    if value.is_none() {
        report.mistake(path, number.to_string(), "a finite number");
    }
    value.map(Value::Number)
}

fn too_deep(report: &mut Report<'_>, path: &Path) {
    report.mistake(
        path,
        format!("a schema nested deeper than {DEPTH_MAX} levels"),
        "a flatter one",
    );
}

/// The deepest nesting of brackets outside strings.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, field)| name.contains('\0') || holds_nul(field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What the compiler would let pass, or would say less clearly.
fn check_own_rules(report: &mut Report<'_>, path: &Path, schema: &Value) -> bool {
    let mut is_sound = true;
    let mut refuse = |path: &Path, found: String, expected: &str| {
        is_sound = false;
        report.mistake(path, found, expected);
    };
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "object" => {}
        Some(other) => refuse(
            &path.key("type"),
            other.to_string(),
            "\"object\": an input always is one",
        ),
        None => refuse(
            &path.key("type"),
            "nothing".to_owned(),
            "\"object\": an input always is one",
        ),
    }
    each_subschema(schema, "", &mut |pointer, inner| {
        if let Some(draft) = inner.get("$schema").filter(|draft| *draft != DRAFT) {
            refuse(&path.pointer(pointer).key("$schema"), draft.to_string(), DRAFT);
        }
        for keyword in REFERENCES {
            if let Some(target) = inner
                .get(keyword)
                .and_then(Value::as_str)
                .filter(|target| !target.starts_with('#'))
            {
                let expected = "a reference within the schema, such as #/$defs/address: nothing is ever fetched";
                refuse(&path.pointer(pointer).key(keyword), quote(target), expected);
            }
        }
    });
    is_sound
}

/// Everything in it that is no JSON Schema. What only compiling finds comes last, since that ends at its first find.
fn check_keywords(report: &mut Report<'_>, path: &Path, schema: &Value) -> bool {
    let mut broken: Vec<String> = Vec::new();
    // A pointer counts from the part that has an id of its own; the compiler knows which that is.
    let mut holds_ids = false;
    each_subschema(schema, "", &mut |pointer, inner| {
        holds_ids |= !pointer.is_empty() && inner.get("$id").is_some()
    });
    for error in draft202012::meta::validator().iter_errors(schema) {
        let pointer = error.instance_path().as_str().to_owned();
        report.mistake(&path.pointer(&pointer), violation(&error), A_SCHEMA);
        broken.push(pointer);
    }
    each_subschema(schema, "", &mut |pointer, inner| {
        for place in bad_patterns(pointer, inner) {
            if !broken.contains(&place) {
                report.mistake(&path.pointer(&place), "no regular expression", A_SCHEMA);
                broken.push(place);
            }
        }
        for keyword in REFERENCES {
            let target = inner.get(keyword).and_then(Value::as_str);
            if let Some(target) = target.filter(|target| !holds_ids && leads_nowhere(schema, target)) {
                let place = format!("{pointer}/{keyword}");
                let found = format!("{}, which is not in the schema", quote(target));
                report.mistake(
                    &path.pointer(&place),
                    found,
                    "a reference to a part of it, such as #/$defs/address",
                );
                broken.push(place);
            }
        }
    });
    broken.is_empty()
}

/// Patterns that do not compile. Each is tried alone, so that none hides another.
fn bad_patterns(pointer: &str, schema: &Value) -> Vec<String> {
    let compiles = |pattern: &str| build(&json!({ "pattern": pattern })).is_ok();
    let own = schema.get("pattern").and_then(Value::as_str);
    let own = own
        .filter(|pattern| !compiles(pattern))
        .map(|_| format!("{pointer}/pattern"));
    let names = schema
        .get("patternProperties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let names = names.filter(|(pattern, _)| !compiles(pattern)).map(|(pattern, _)| {
        let name = pattern.replace('~', "~0").replace('/', "~1");
        format!("{pointer}/patternProperties/{name}")
    });
    own.into_iter().chain(names).collect()
}

/// Of references by pointer only: what an anchor names is found by compiling.
fn leads_nowhere(schema: &Value, target: &str) -> bool {
    let pointer = target.strip_prefix('#').filter(|pointer| pointer.starts_with('/'));
    // A pointer in a reference may be percent-encoded, and then it is left to the compiler too.
    pointer.is_some_and(|pointer| !pointer.contains('%') && schema.pointer(pointer).is_none())
}

fn check_compiles(report: &mut Report<'_>, path: &Path, schema: &Value) {
    if let Err(error) = build(schema) {
        let place = path.pointer(error.instance_path().as_str());
        report.mistake(&place, violation(&error), A_SCHEMA);
    }
}

fn check_defaults(report: &mut Report<'_>, path: &Path, schema: &Value) {
    each_subschema(schema, "", &mut |pointer, inner| {
        // A reference leads out of the part that is compiled here.
        if let (Some(default), false) = (inner.get("default"), holds_reference(inner))
            && let Some(error) = build(inner)
                .ok()
                .and_then(|validator| validator.validate(default).err().map(|error| error.to_string()))
        {
            report.mistake(
                &path.pointer(pointer).key("default"),
                error,
                "a default that keeps its own schema",
            );
        }
    });
}

fn holds_reference(schema: &Value) -> bool {
    let mut found = false;
    each_subschema(schema, "", &mut |_, inner| {
        found |= inner.get("$ref").is_some() || inner.get("$dynamicRef").is_some()
    });
    found
}
