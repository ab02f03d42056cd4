//! From a checked input to the request that leaves the process.
//!
//! Pure and deterministic: the same tool and input give the same text, byte for byte. Secrets stay references
//! (`{env:NAME}`) until [`resolve`] puts them in, in memory, right before sending. Start at [`render`].

use super::ToolRequest;
use super::check::invalid_input;
use super::sql;
use super::template::{self, Part};
use super::url::{UrlTemplate, scalar};
use crate::definition::digest::canonical_text;
use crate::definition::{CommandTool, HttpTool, SqlTool, Tool, ToolAction};
use crate::error::{ErrorClass, StepError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Longest request in all: it is stored with the intent and sent by every attempt.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Longest URL: servers and proxies refuse longer ones in ways that read like a fault of theirs.
pub const URL_BYTES_MAX: usize = 32 * 1024;

/// Longest single argument: Linux starts no program with a longer one (`MAX_ARG_STRLEN`, its end mark included).
pub const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;

/// What leaves the process for this input, which [`check`](super::check) has let through.
pub fn render(tool: &Tool, input: &Value) -> Result<ToolRequest, StepError> {
    let Value::Object(fields) = input else {
        return Err(invalid_input("the input is not a JSON object"));
    };
    let request = match &tool.action {
        ToolAction::Http(http) => http_request(http, fields)?,
        ToolAction::Command(command) => ToolRequest::Command {
            argv: arguments(command, fields)?,
            stdin: canonical_text(input),
        },
        ToolAction::Function(function) => ToolRequest::Function {
            function: function.function.clone(),
            input: canonical_text(input),
        },
        ToolAction::Sql(tool) => sql_request(tool, fields)?,
    };
    let bytes = request_bytes(&request);
    if bytes > REQUEST_BYTES_MAX {
        return Err(too_large("the request", bytes, REQUEST_BYTES_MAX));
    }
    Ok(request)
}

fn http_request(http: &HttpTool, fields: &Map<String, Value>) -> Result<ToolRequest, StepError> {
    let template = UrlTemplate::parse(&http.url).map_err(|found| bad_template(&found))?;
    let mut url = template.render(fields).map_err(unfit_field)?;
    let mut headers = http.headers.clone();
    let body = if has_body(&http.method) {
        headers
            .entry("content-type".to_owned())
            .or_insert_with(|| "application/json".to_owned());
        Some(canonical_text(&Value::Object(fields.clone())))
    } else {
        push_query(&mut url, &template, fields);
        None
    };
    if url.len() > URL_BYTES_MAX {
        return Err(too_large("the URL", url.len(), URL_BYTES_MAX));
    }
    let method = http.method.clone();
    Ok(ToolRequest::Http {
        method,
        url,
        headers,
        body,
    })
}

fn has_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

/// The fields that the template does not take become parameters, by name; null is left out.
fn push_query(url: &mut String, template: &UrlTemplate, fields: &Map<String, Value>) {
    let mut left: BTreeMap<&str, &Value> = fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
    for name in template.fields() {
        left.remove(name);
    }
    for (name, value) in left {
        match value {
            Value::Null => {}
            Value::String(text) => UrlTemplate::push_parameter(url, name, text),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                UrlTemplate::push_parameter(url, name, &canonical_text(value));
            }
        }
    }
}

fn arguments(command: &CommandTool, fields: &Map<String, Value>) -> Result<Vec<String>, StepError> {
    command.argv.iter().map(|template| argument(template, fields)).collect()
}

fn argument(template: &str, fields: &Map<String, Value>) -> Result<String, StepError> {
    let parts = template::parse(template).map_err(|error| bad_template(&error.to_string()))?;
    let mut text = String::new();
    for part in &parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Field(name) => text.push_str(&scalar(fields, name).map_err(unfit_field)?),
            Part::Env(name) => return Err(bad_template(&format!("{{env:{name}}} in an argument"))),
        }
    }
    if text.contains('\0') {
        return Err(invalid_input(
            "an argument would hold the character U+0000, which ends it",
        ));
    }
    if let (Some(Part::Field(name)), true) = (parts.first(), text.starts_with('-')) {
        let message = format!("/{name}: begins with \"-\", which the program would take for an option");
        return Err(invalid_input(message).suggest("call the tool again with a value that does not begin with \"-\""));
    }
    if text.len() > ARGUMENT_BYTES_MAX {
        return Err(too_large("an argument", text.len(), ARGUMENT_BYTES_MAX));
    }
    Ok(text)
}

/// Each field as text, which the database reads as the type that the statement wants there: nothing of it becomes part
/// of the statement.
fn sql_request(tool: &SqlTool, fields: &Map<String, Value>) -> Result<ToolRequest, StepError> {
    let statement = sql::parse(&tool.statement).map_err(|error| bad_template(&error.to_string()))?;
    let mut parameters = BTreeMap::new();
    for name in &statement.fields {
        let value = fields.get(name).unwrap_or(&Value::Null);
        let text = match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(canonical_text(value)),
        };
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            let message = format!("/{name}: holds the character U+0000, which no database stores as text");
            return Err(unfit_field(message));
        }
        parameters.insert(name.clone(), text);
    }
    Ok(ToolRequest::Sql {
        database: tool.database.clone(),
        statement: tool.statement.clone(),
        parameters,
    })
}

fn request_bytes(request: &ToolRequest) -> usize {
    match request {
        ToolRequest::Http {
            method,
            url,
            headers,
            body,
        } => {
            let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
            method.len() + url.len() + headers + body.as_ref().map_or(0, String::len)
        }
        ToolRequest::Command { argv, stdin } => argv.iter().map(String::len).sum::<usize>() + stdin.len(),
        ToolRequest::Function { function, input } => function.len() + input.len(),
        ToolRequest::Sql {
            statement, parameters, ..
        } => {
            let texts = parameters.values().flatten().map(String::len);
            statement.len() + texts.sum::<usize>()
        }
    }
}

fn unfit_field(message: String) -> StepError {
    invalid_input(message).suggest("correct what is named and call the tool again; it has not been run")
}

fn too_large(what: &str, bytes: usize, bytes_max: usize) -> StepError {
    let message = format!("{what} would have {bytes} bytes, and at most {bytes_max} are allowed");
    invalid_input(message).suggest("send less, or split the work into several calls")
}

/// A definition that was read by [`read`](crate::definition::read()) has none of these.
fn bad_template(found: &str) -> StepError {
    StepError::new(
        ErrorClass::Permanent,
        "bad_template",
        format!("the tool's template holds {found}"),
    )
    .suggest("mend the agent's definition and apply it")
    .fatal()
}

/// Names of the environment variables that a template or reference text asks for, each once, in order. A text that
/// is neither asks for none.
pub fn environment_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for part in template::parse(text).unwrap_or_default() {
        if let Part::Env(name) = part
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// Puts secrets in the place of their references, for a URL or header value of a [`ToolRequest`] only. One pass: a
/// value's own braces mean nothing. `{{` and `}}` become the braces themselves.
pub fn resolve(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, StepError> {
    let parts = template::parse(text).map_err(|error| bad_template(&error.to_string()))?;
    let mut resolved = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => resolved.push_str(&literal),
            Part::Env(name) => resolved.push_str(&lookup(&name).ok_or_else(|| missing_secret(&name))?),
            Part::Field(name) => return Err(bad_template(&format!("{{{name}}} where only {{env:NAME}} is left"))),
        }
    }
    Ok(resolved)
}

fn missing_secret(name: &str) -> StepError {
    let message = format!("the environment variable {name} is not set in the worker");
    StepError::new(ErrorClass::Permanent, "missing_secret", message)
        .suggest(format!(
            "set {name} where the worker is started, restart it, and resume the run"
        ))
        .fatal()
}

#[cfg(test)]
mod tests;
