//! Text with places in braces: `{field}` takes a field of the input, `{env:NAME}` a variable of the worker's
//! environment; `{{` and `}}` stand for the braces themselves.
//!
//! Two kinds of text are written this way. A *template* stands in a definition and may hold both kinds of places.
//! A *reference text* stands in a stored request (its URL and header values) and holds `{env:NAME}` only; it becomes
//! the text that is sent by [`resolve`](super::render::resolve), in one pass, so that a secret's own braces mean
//! nothing. Arguments, standard input and bodies of a stored request are neither: they are sent as they stand.

use serde_json::{Map, Value};

/// Before the name of an environment variable.
pub(crate) const ENV_PREFIX: &str = "env:";

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text, braces already single.
    Literal(String),
    /// An input field.
    Field(String),
    /// An environment variable.
    Env(String),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// `{` without its `}`.
    #[error("a '{{' that is never closed (write '{{{{' for the brace itself)")]
    Unclosed,
    /// `}` without its `{`.
    #[error("a '}}' that nothing opened (write '}}}}' for the brace itself)")]
    Unopened,
    /// `{}`.
    #[error("an empty '{{}}'")]
    Empty,
    /// `{env:…}` with something that no variable is called.
    #[error("'{{env:{0}}}', which is no name of an environment variable")]
    EnvironmentName(String),
}

/// Takes a template apart.
pub(crate) fn parse(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err(TemplateError::Unopened);
        }
        let end = after.find(['{', '}']).ok_or(TemplateError::Unclosed)?;
        let behind = after[end..].strip_prefix('}').ok_or(TemplateError::Unclosed)?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(place(&after[..end])?);
        rest = behind;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

fn place(name: &str) -> Result<Part, TemplateError> {
    match name.strip_prefix(ENV_PREFIX) {
        Some(variable) if is_environment_name(variable) => Ok(Part::Env(variable.to_owned())),
        Some(variable) => Err(TemplateError::EnvironmentName(variable.to_owned())),
        None if name.is_empty() => Err(TemplateError::Empty),
        None => Ok(Part::Field(name.to_owned())),
    }
}

/// A value with the places in its text filled: one that is nothing but a place takes what stands for it as it is.
///
/// # Errors
/// What nothing stands for, or what is wrong with the text.
pub(crate) fn fill(value: &Value, take: &dyn Fn(&str) -> Option<Value>) -> Result<Value, String> {
    let Value::String(text) = value else {
        return Ok(value.clone());
    };
    let taken = |name: &str| take(name).ok_or_else(|| name.to_owned());
    let parts = parse(text).map_err(|error| error.to_string())?;
    if let [Part::Field(name)] = parts.as_slice() {
        return taken(name);
    }
    let mut filled = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => filled.push_str(&literal),
            Part::Field(name) => {
                let taken = taken(&name)?;
                filled.push_str(&taken.as_str().map_or_else(|| taken.to_string(), str::to_owned));
            }
            Part::Env(name) => return Err(format!("{ENV_PREFIX}{name}")),
        }
    }
    Ok(Value::String(filled))
}

/// The fields that the places of an object's texts name.
///
/// # Errors
/// What is wrong with a text.
pub(crate) fn fields_of(values: &Map<String, Value>) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    for text in values.values().filter_map(Value::as_str) {
        for part in parse(text).map_err(|error| error.to_string())? {
            match part {
                Part::Literal(_) => {}
                Part::Field(name) => fields.push(name),
                Part::Env(name) => {
                    return Err(format!("{{{ENV_PREFIX}{name}}}, which is for URLs and headers only"));
                }
            }
        }
    }
    Ok(fields)
}

/// Letters, digits and `_`, not beginning with a digit: what every shell can set.
pub(crate) fn is_environment_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.len() <= 128 && name.bytes().all(is_inner) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests;
