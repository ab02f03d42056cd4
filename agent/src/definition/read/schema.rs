//! A tool's `input`: a JSON Schema written as TOML tables or as JSON text.

use super::action::Kind;
use super::form::Form;
use super::report::{Path, Report, quote, shown};
use super::subschema::each_subschema;
use crate::tool::check::{DEPTH_MAX, build, violation};
use serde_json::{Map, Value};
use toml::de::{DeFloat, DeInteger, DeValue};

/// What `$schema` may say.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema, checked as far as it can be; `None` where there is none or nothing came of it.
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
            if matches!(kind, Some(Kind::Http | Kind::Command)) {
                let expected = "a [tool.input] table (for no input: type = \"object\", additionalProperties = false)";
                report.missing(&path, expected);
            }
            return None;
        }
    };
    let is_sound = check_own_rules(report, &path, &schema);
    (is_sound && compiles(report, &path, &schema)).then_some(schema)
}

fn from_json(report: &mut Report<'_>, path: &Path, text: &str) -> Option<Value> {
    match serde_json::from_str::<Value>(text) {
        Ok(schema) if !schema.is_object() => {
            report.mistake(path, "JSON that is no object", "a JSON Schema of type object");
            None
        }
        Ok(schema) if depth(&schema) > DEPTH_MAX => {
            too_deep(report, path);
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

fn from_toml(report: &mut Report<'_>, path: &Path, value: &DeValue<'_>, depth: usize) -> Option<Value> {
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
            items
                .map(|(index, item)| from_toml(report, &path.index(index), item.get_ref(), depth + 1))
                .collect()
        }
        DeValue::Table(table) => {
            let mut fields = Map::new();
            for (key, value) in table {
                let value = from_toml(report, &path.key(key.get_ref()), value.get_ref(), depth + 1)?;
                fields.insert(key.get_ref().to_string(), value);
            }
            Some(Value::Object(fields))
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

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
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
        for keyword in ["$ref", "$dynamicRef"] {
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

fn compiles(report: &mut Report<'_>, path: &Path, schema: &Value) -> bool {
    if let Err(error) = build(schema) {
        let place = path.pointer(error.instance_path().as_str());
        report.mistake(&place, violation(&error), "a JSON Schema of draft 2020-12");
        return false;
    }
    let mut fits = true;
    each_subschema(schema, "", &mut |pointer, inner| {
        // A reference leads out of the part that is compiled here.
        if let (Some(default), false) = (inner.get("default"), holds_reference(inner))
            && let Some(error) = build(inner)
                .ok()
                .and_then(|validator| validator.validate(default).err().map(|error| error.to_string()))
        {
            fits = false;
            report.mistake(
                &path.pointer(pointer).key("default"),
                error,
                "a default that keeps its own schema",
            );
        }
    });
    fits
}

fn holds_reference(schema: &Value) -> bool {
    let mut found = false;
    each_subschema(schema, "", &mut |_, inner| {
        found |= inner.get("$ref").is_some() || inner.get("$dynamicRef").is_some()
    });
    found
}
