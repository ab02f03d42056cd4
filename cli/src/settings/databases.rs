//! Databases that tools may read: the tables `[databases.NAME]` of the settings file.

use super::file::Mistake;
use toml::de::{DeTable, DeValue};

/// A name's length; agents' files have it too.
const NAME_CHARS_MAX: usize = 63;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) name: String,
    /// `postgres://…`, or `env:NAME` for the variable that holds it.
    pub(crate) url: String,
    /// In the file.
    pub(crate) line: usize,
}

/// What the file says of them.
pub(super) fn understand(
    value: &DeValue<'_>,
    line: usize,
    line_of: impl Fn(usize) -> usize,
) -> Result<Vec<Database>, Vec<Mistake>> {
    let example = "tables such as [databases.crm] with url = \"env:CRM_URL\"";
    let DeValue::Table(tables) = value else {
        return Err(vec![mistake((line, "databases"), "something else", example)]);
    };
    let mut databases = Vec::new();
    let mut mistakes = Vec::new();
    for (name, table) in tables {
        let (line, key) = (line_of(name.span().start), format!("databases.{}", name.get_ref()));
        let judged = match table.get_ref() {
            _ if !is_name(name.get_ref()) => Err(mistake(
                (line, &key),
                "a name that no agent's file can have",
                "lower-case letters, digits, _ and -, at most 63",
            )),
            DeValue::Table(table) => url((line, &key), table),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => Err(mistake((line, &key), "something else", example)),
        };
        match judged {
            Ok(url) => databases.push(Database {
                name: name.get_ref().to_string(),
                url,
                line,
            }),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() {
        Ok(databases)
    } else {
        Err(mistakes)
    }
}

fn url(at: (usize, &str), table: &DeTable<'_>) -> Result<String, Mistake> {
    let expected = "url = \"env:NAME\", or url = \"postgres://…\"";
    if let Some((key, _)) = table.iter().find(|(key, _)| key.get_ref() != "url") {
        return Err(mistake(at, &format!("the key {}", key.get_ref()), expected));
    }
    let Some(url) = table.get("url").and_then(|url| url.get_ref().as_str()) else {
        return Err(mistake(at, "no url", expected));
    };
    let is_variable = url.strip_prefix("env:").is_some_and(is_variable);
    let is_address = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if is_variable || is_address {
        Ok(url.to_owned())
    } else {
        // It may hold a password.
        Err(mistake(at, "something else", expected))
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

fn is_variable(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_inner) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn mistake((line, key): (usize, &str), found: &str, expected: &str) -> Mistake {
    Mistake {
        line,
        key: key.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}
