//! URL templates, and how a model's words get into them without changing where they lead.
//!
//! A field stands behind the host only, is percent-encoded byte by byte, and can make no path segment that is empty,
//! `.` or `..`. So what the author wrote is where the request goes.

use super::address::Host;
use super::template::{self, Part};
use serde_json::{Map, Value};
use std::fmt::Write;

/// A URL template that keeps these rules.
#[derive(Debug)]
pub(crate) struct UrlTemplate {
    /// Scheme and host: no fields.
    base: Vec<Part>,
    /// Empty, or from the `/` or `?` behind the host on.
    rest: Vec<Part>,
}

impl UrlTemplate {
    /// Reads a template; the error says what was found in the place of one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = template::parse(text).map_err(|error| error.to_string())?;
        match parts.first() {
            Some(Part::Env(_)) => {}
            Some(Part::Literal(start)) if start.starts_with("https://") || start.starts_with("http://") => {}
            Some(Part::Literal(_) | Part::Field(_)) | None => {
                return Err("a URL that begins with neither http://, https:// nor {env:NAME}".to_owned());
            }
        }
        let (base, rest) = split_behind_host(parts);
        let template = Self { base, rest };
        template.check_literals()?;
        Ok(template)
    }

    fn check_literals(&self) -> Result<(), String> {
        for part in &self.base {
            match part {
                Part::Field(name) => return Err(format!("{{{name}}} before the end of the host")),
                Part::Literal(text) if text.contains('@') => return Err("credentials before the host".to_owned()),
                Part::Literal(_) | Part::Env(_) => {}
            }
        }
        for part in self.base.iter().chain(&self.rest) {
            if let Part::Literal(text) = part {
                if text.contains('#') {
                    return Err("a fragment (#), which is never sent".to_owned());
                }
                if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
                    return Err("a space, control character or backslash".to_owned());
                }
                if text.split('%').skip(1).any(|after| !begins_with_hex_pair(after)) {
                    return Err("a '%' without two hexadecimal digits".to_owned());
                }
            }
        }
        Ok(())
    }

    /// The fields that it takes, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.rest.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Literal(_) | Part::Env(_) => None,
        })
    }

    /// Host and port, where the template itself says both.
    pub(crate) fn host(&self) -> Option<(Host, u16)> {
        let [Part::Literal(base)] = self.base.as_slice() else {
            return None;
        };
        let (authority, usual) = match base.strip_prefix("https://") {
            Some(authority) => (authority, 443),
            None => (base.strip_prefix("http://")?, 80),
        };
        let behind_brackets = authority.rfind(']').map_or(0, |at| at + 1);
        match authority[behind_brackets..].split_once(':') {
            Some((_, port)) => {
                let host = &authority[..authority.len() - port.len() - 1];
                Some((Host::of(host), port.parse().ok()?))
            }
            None => Some((Host::of(authority), usual)),
        }
    }

    /// The URL as a reference text. The error names the field and what is wrong with it.
    pub(crate) fn render(&self, input: &Map<String, Value>) -> Result<String, String> {
        let mut url = String::new();
        for part in &self.base {
            push_own(&mut url, part);
        }
        let mut path = PathWatch::default();
        for part in &self.rest {
            if let Part::Field(name) = part {
                let value = scalar(input, name)?;
                path.field(name, &value);
                push_encoded(&mut url, &value);
            } else {
                path.own(part)?;
                push_own(&mut url, part);
            }
        }
        path.end_segment()?;
        Ok(url)
    }

    /// Appends a query parameter.
    pub(crate) fn push_parameter(url: &mut String, name: &str, value: &str) {
        url.push(if url.contains('?') { '&' } else { '?' });
        push_encoded(url, name);
        url.push('=');
        push_encoded(url, value);
    }
}

/// Watches that no path segment made with a field is empty or a step through the tree. A variable of the environment
/// counts as empty here, since it may be.
#[derive(Default)]
struct PathWatch<'a> {
    segment: String,
    field: Option<&'a str>,
    in_query: bool,
}

impl<'a> PathWatch<'a> {
    fn field(&mut self, name: &'a str, value: &str) {
        self.segment.push_str(value);
        self.field = Some(name);
    }

    fn own(&mut self, part: &Part) -> Result<(), String> {
        let Part::Literal(text) = part else { return Ok(()) };
        for c in text.replace("%2e", ".").replace("%2E", ".").chars() {
            match c {
                '/' | '?' => {
                    self.end_segment()?;
                    self.in_query |= c == '?';
                }
                _ => self.segment.push(c),
            }
        }
        Ok(())
    }

    fn end_segment(&mut self) -> Result<(), String> {
        let segment = std::mem::take(&mut self.segment);
        match self.field.take() {
            Some(field) if !self.in_query && segment.is_empty() => {
                Err(format!("/{field}: is empty, but stands in the path of a URL"))
            }
            Some(field) if !self.in_query && (segment == "." || segment == "..") => Err(format!(
                "/{field}: makes \"{segment}\" in the path of a URL, which would lead elsewhere"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// Splits before the first `/`, `?` or `#` behind the host.
fn split_behind_host(mut parts: Vec<Part>) -> (Vec<Part>, Vec<Part>) {
    let found = parts.iter().enumerate().find_map(|(index, part)| match part {
        Part::Literal(text) => end_of_host(text).map(|at| (index, at)),
        Part::Field(_) | Part::Env(_) => None,
    });
    let Some((index, at)) = found else {
        return (parts, Vec::new());
    };
    let mut rest = parts.split_off(index);
    if let Some(Part::Literal(text)) = rest.first_mut() {
        let behind = text.split_off(at);
        let before = std::mem::replace(text, behind);
        if !before.is_empty() {
            parts.push(Part::Literal(before));
        }
    }
    (parts, rest)
}

fn end_of_host(text: &str) -> Option<usize> {
    let from = match text.find(['/', '?', '#'])? {
        at if text[..at].ends_with(':') && text[at..].starts_with("//") => at + 2,
        at => return Some(at),
    };
    text[from..].find(['/', '?', '#']).map(|at| from + at)
}

/// The field's text, when it is text, a number or a boolean.
pub(crate) fn scalar(input: &Map<String, Value>, name: &str) -> Result<String, String> {
    match input.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Bool(flag)) => Ok(flag.to_string()),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => {
            Err(format!("/{name}: must be text, a number or a boolean"))
        }
        None => Err(format!("/{name}: is missing")),
    }
}

/// A `%` that stood alone could join with a field's value.
fn begins_with_hex_pair(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 2 && bytes[..2].iter().all(u8::is_ascii_hexdigit)
}

/// Text of the author: braces cannot stay, since they would read as a reference.
fn push_own(url: &mut String, part: &Part) {
    match part {
        Part::Literal(text) => url.push_str(&text.replace('{', "%7B").replace('}', "%7D")),
        Part::Env(name) => {
            url.push('{');
            url.push_str(template::ENV_PREFIX);
            url.push_str(name);
            url.push('}');
        }
        Part::Field(_) => {}
    }
}

/// Everything but letters, digits and `-._~` as `%XX`.
fn push_encoded(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests;
