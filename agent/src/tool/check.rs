//! Input at the boundary: what the model wrote becomes a value that keeps the tool's schema, or an error that the
//! model can read and act on. No tool ever sees an input that did not pass here. Start at [`InputSchema::check_input`].

use crate::error::{ErrorClass, StepError};
use crate::sanitise::Sanitiser;
use crate::wire::messages::INVALID_JSON;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value;

/// Longest input text; also the most that filled-in defaults may add.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;

/// Deepest nesting of an input or of a schema; the database and every reader behind us take at least as much.
pub const DEPTH_MAX: usize = 64;

/// Violations told in one message; the rest would not help the model.
const VIOLATIONS_SHOWN: usize = 5;

/// Longest text of one violation, which may quote the input.
const VIOLATION_CHARS_MAX: usize = 300;

/// A tool's schema, compiled once.
#[derive(Debug, Clone)]
pub struct InputSchema {
    schema: Value,
    validator: Validator,
}

impl InputSchema {
    /// Compiles a JSON Schema (draft 2020-12). Nothing is ever fetched: a remote `$ref` is an error.
    pub fn compile(schema: &Value) -> Result<Self, StepError> {
        let validator = build(schema).map_err(|error| {
            let message = format!("the tool's schema does not compile: {}", violation(&error));
            StepError::new(ErrorClass::Permanent, "invalid_schema", message)
                .suggest("mend the schema in the agent's definition or in the function's type")
                .fatal()
        })?;
        let schema = schema.clone();
        Ok(Self { schema, validator })
    }

    /// Reads an input as the model wrote it, fills in the schema's defaults and validates the result.
    ///
    /// Defaults are taken from `properties` and `items`, at every depth; those behind `$ref`, `allOf` and the like are
    /// left to whoever reads the value.
    pub fn check_input(&self, input_json_text: &str) -> Result<Value, StepError> {
        self.check_sanitised(input_json_text, None)
    }

    /// The same, once the tool's rules have changed what the model wrote.
    pub fn check_sanitised(&self, input_json_text: &str, rules: Option<&Sanitiser>) -> Result<Value, StepError> {
        let mut input = parse(input_json_text)?;
        if let Some(rules) = rules {
            rules.input(&mut input)?;
        }
        let mut room = INPUT_BYTES_MAX;
        fill_defaults(&self.schema, &mut input, &mut room)?;
        self.validate(&input)?;
        Ok(input)
    }

    fn validate(&self, input: &Value) -> Result<(), StepError> {
        let mut errors = self.validator.iter_errors(input);
        let mut shown: Vec<String> = errors
            .by_ref()
            .take(VIOLATIONS_SHOWN)
            .map(|error| violation(&error))
            .collect();
        if shown.is_empty() {
            return Ok(());
        }
        if errors.next().is_some() {
            shown.push("and more".to_owned());
        }
        let message = format!("the input does not match this tool's schema: {}", shown.join("; "));
        Err(invalid_input(message).suggest("correct what is named and call the tool again; it has not been run"))
    }
}

/// The validator of a schema, with formats checked and nothing fetched.
pub(crate) fn build(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .offline()
        .build(schema)
}

/// An error that the model is told.
pub(crate) fn invalid_input(message: impl Into<String>) -> StepError {
    StepError::new(ErrorClass::InvalidInput, "invalid_input", message)
}

fn parse(text: &str) -> Result<Value, StepError> {
    if text.len() > INPUT_BYTES_MAX {
        let message = format!(
            "the input has {} bytes, and at most {INPUT_BYTES_MAX} are allowed",
            text.len()
        );
        return Err(invalid_input(message).suggest("send less, or split the work into several calls"));
    }
    check_shape(text)?;
    let input: Value = serde_json::from_str(text).map_err(|error| {
        invalid_input(format!("the input is not valid JSON: {error}"))
            .suggest("call the tool again with one JSON object that keeps its schema")
    })?;
    if !input.is_object() {
        return Err(
            invalid_input(format!("the input is {}, not a JSON object", kind(&input)))
                .suggest("call the tool again with one JSON object that keeps its schema"),
        );
    }
    if input
        .as_object()
        .is_some_and(|object| object.len() == 1 && object.contains_key(INVALID_JSON))
    {
        return Err(invalid_input("the input did not arrive as valid JSON")
            .suggest("call the tool again with one JSON object that keeps its schema"));
    }
    if let Some(path) = find_nul(&input) {
        let message = format!("{path}: holds the character U+0000, which cannot be stored or passed on");
        return Err(invalid_input(message).suggest("leave the character out and call the tool again"));
    }
    Ok(input)
}

/// Refuses what a parser would hide: nesting that overflows somewhere behind us, and integers that lose digits.
fn check_shape(text: &str) -> Result<(), StepError> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let length = match byte {
            b'"' => string_length(&bytes[at..]),
            b'-' | b'0'..=b'9' => number_length(&bytes[at..]),
            b'{' | b'[' => {
                depth += 1;
                1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                1
            }
            _ => 1,
        };
        if depth > DEPTH_MAX {
            return Err(
                invalid_input(format!("the input is nested deeper than {DEPTH_MAX} levels"))
                    .suggest("call the tool again with a flatter input"),
            );
        }
        if matches!(byte, b'-' | b'0'..=b'9') && loses_digits(&text[at..at + length]) {
            let number: String = text[at..at + length].chars().take(40).collect();
            return Err(
                invalid_input(format!("the integer {number} is too large to be kept exactly"))
                    .suggest("send it as text if the tool's schema allows that, or send a smaller number"),
            );
        }
        at += length;
    }
    Ok(())
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn number_length(bytes: &[u8]) -> usize {
    let is_inner = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    bytes.iter().position(|byte| !is_inner(byte)).unwrap_or(bytes.len())
}

fn loses_digits(number: &str) -> bool {
    let is_integer = number
        .bytes()
        .enumerate()
        .all(|(at, byte)| byte.is_ascii_digit() || (at == 0 && byte == b'-'));
    is_integer && number.len() > 1 && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
}

fn find_nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| find_nul(item).map(|path| format!("/{index}{path}"))),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            let shown = name.replace('\0', "\u{fffd}").replace('~', "~0").replace('/', "~1");
            if name.contains('\0') {
                return Some(format!("/{shown}"));
            }
            find_nul(field).map(|path| format!("/{shown}{path}"))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn fill_defaults(schema: &Value, value: &mut Value, room: &mut usize) -> Result<(), StepError> {
    match value {
        Value::Object(fields) => {
            for (name, property) in schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                if let (false, Some(default)) = (fields.contains_key(name), property.get("default")) {
                    take_room(room, name.len() + default.to_string().len())?;
                    fields.insert(name.clone(), default.clone());
                }
                if let Some(field) = fields.get_mut(name) {
                    fill_defaults(property, field, room)?;
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    fill_defaults(schema, item, room)?;
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn take_room(room: &mut usize, bytes: usize) -> Result<(), StepError> {
    *room = room.checked_sub(bytes).ok_or_else(|| {
        invalid_input(format!(
            "the schema's defaults would add more than {INPUT_BYTES_MAX} bytes to this input"
        ))
        .suggest("send fewer items in one call")
    })?;
    Ok(())
}

/// `/order_id: "12" does not match "^ORD-"`, short enough to be read.
pub(crate) fn violation(error: &ValidationError<'_>) -> String {
    let path = error.instance_path().as_str();
    let place = if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    };
    let mut text = format!("{place}{error}");
    if let Some((end, _)) = text.char_indices().nth(VIOLATION_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
