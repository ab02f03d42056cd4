//! What a tool does: the keys that only its kind has.

use super::form::{Form, integer};
use super::report::{Path, Report, quote, shown};
use super::sql::read_sql;
use crate::definition::limits::{
    ALLOWED_HOSTS_MAX, ARGUMENTS_MAX, EXIT_CODE, EXIT_CODES_MAX, HEADERS_MAX, MEMORY_MIB, NAME_CHARS_MAX,
    OPEN_FILES_MAX, OUTPUT_MIB, PROCESSES_MAX, SCRATCH_MIB, TIMEOUT_SECONDS,
};
use crate::definition::{CommandLimits, CommandTool, FunctionTool, HttpTool, ToolAction};
use crate::tool::address::AllowedHost;
use crate::tool::template::{self, Part, is_environment_name};
use crate::tool::url::UrlTemplate;
use serde_json::Value;
use std::collections::BTreeMap;
use toml::de::DeValue;

const METHODS: [(&str, &str); 6] = [
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("DELETE", "DELETE"),
];

/// Headers that belong to the connection or to the engine.
const OWN_HEADERS: [&str; 8] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "expect",
    "te",
    "trailer",
    "upgrade",
];

/// Headers whose value is a secret.
const SECRET_HEADERS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"];

/// What `kind` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Command,
    Function,
    Sql,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Command => "command",
            Self::Function => "function",
            Self::Sql => "sql",
        }
    }

    /// The keys that only this kind has.
    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Http => &[
                "method",
                "url",
                "headers",
                "idempotency_header",
                "allow_hosts",
                "connect_timeout_seconds",
                "first_byte_timeout_seconds",
                "idle_timeout_seconds",
            ],
            Self::Command => &[
                "argv",
                "env",
                "working_dir",
                "not_applied_exit_codes",
                "transient_exit_codes",
                "limits",
            ],
            Self::Function => &["function"],
            Self::Sql => &["statement", "database", "row_limit"],
        }
    }
}

/// The action of a tool with that name and schema; `None` where something was reported.
pub(super) fn read_action(
    report: &mut Report<'_>,
    form: &Form<'_>,
    kind: Kind,
    (name, schema): (&str, Option<&Value>),
) -> Option<ToolAction> {
    match kind {
        Kind::Http => read_http(report, form, schema).map(ToolAction::Http),
        Kind::Command => read_command(report, form, schema).map(ToolAction::Command),
        Kind::Function => {
            let function = form.text(report, "function").unwrap_or_else(|| name.to_owned());
            if function.len() > NAME_CHARS_MAX {
                report.mistake(
                    &form.at("function"),
                    quote(&function),
                    format!("at most {NAME_CHARS_MAX} bytes"),
                );
            }
            Some(ToolAction::Function(FunctionTool { function }))
        }
        Kind::Sql => read_sql(report, form, schema).map(ToolAction::Sql),
    }
}

fn read_http(report: &mut Report<'_>, form: &Form<'_>, schema: Option<&Value>) -> Option<HttpTool> {
    if !form.has("method") {
        report.missing(&form.at("method"), "one of GET, HEAD, POST, PUT, PATCH, DELETE");
    }
    let method = form.choice(report, "method", &METHODS);
    let url = form.required(report, "url", "a URL such as https://host/orders/{order_id}");
    if let Some(url) = &url {
        check_url(report, &form.at("url"), url, schema);
    }
    let idempotency_header = form
        .text(report, "idempotency_header")
        .unwrap_or_else(|| "Idempotency-Key".to_owned());
    let lower = idempotency_header.to_ascii_lowercase();
    if !is_header_name(&lower) || OWN_HEADERS.contains(&lower.as_str()) || lower == "authorization" {
        report.mistake(
            &form.at("idempotency_header"),
            quote(&idempotency_header),
            "the name of a header for the key",
        );
    }
    let headers = read_headers(report, form, &lower);
    let mut seconds = |key| form.small_number(report, key, TIMEOUT_SECONDS);
    let (connect, first_byte, idle) = (
        seconds("connect_timeout_seconds"),
        seconds("first_byte_timeout_seconds"),
        seconds("idle_timeout_seconds"),
    );
    Some(HttpTool {
        method: method?.to_owned(),
        url: url?,
        headers,
        idempotency_header,
        allow_hosts: read_allowed_hosts(report, form),
        connect_timeout_seconds: connect,
        first_byte_timeout_seconds: first_byte,
        idle_timeout_seconds: idle,
    })
}

/// As they are stored: in order, each once.
fn read_allowed_hosts(report: &mut Report<'_>, form: &Form<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for (path, text) in form.texts(report, "allow_hosts", ALLOWED_HOSTS_MAX).unwrap_or_default() {
        match AllowedHost::parse(&text) {
            Some(host) => hosts.push(host.to_string()),
            None => report.mistake(
                &path,
                quote(&text),
                "one host by its name or address, such as \"payments.internal\" or \"127.0.0.1:8080\"",
            ),
        }
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

fn check_url(report: &mut Report<'_>, path: &Path, url: &str, schema: Option<&Value>) {
    match UrlTemplate::parse(url) {
        Ok(template) => {
            for field in template.fields() {
                check_field(report, path, field, schema);
            }
        }
        Err(found) => {
            let expected = "a URL whose fields stand behind the host, such as https://host/orders/{order_id}";
            report.mistake(path, found, expected);
            for part in template::parse(url).unwrap_or_default() {
                if let Part::Field(field) = part {
                    check_field(report, path, &field, schema);
                }
            }
        }
    }
}

fn read_headers(report: &mut Report<'_>, form: &Form<'_>, idempotency_header: &str) -> BTreeMap<String, String> {
    let section = form.section(report, "headers");
    if section.keys().count() > HEADERS_MAX {
        report.mistake(
            &section.path,
            format!("{} headers", section.keys().count()),
            format!("at most {HEADERS_MAX}"),
        );
    }
    let mut headers = BTreeMap::new();
    for name in section.keys() {
        let path = section.at(name);
        let lower = name.to_ascii_lowercase();
        if !is_header_name(&lower) {
            report.mistake(&path, quote(name), "the name of a header");
        } else if lower == idempotency_header {
            report.mistake(
                &path,
                "the header of the idempotency key",
                "it left out: the engine makes and sends the key",
            );
        } else if OWN_HEADERS.contains(&lower.as_str()) {
            report.mistake(&path, quote(name), "it left out: the connection sets it");
        }
        let value = match section.value(name) {
            Some(DeValue::String(value)) => value.to_string(),
            Some(other) => {
                report.mistake(&path, shown(other), "text");
                continue;
            }
            None => continue,
        };
        check_header_value(report, &path, &lower, &value);
        if headers.insert(lower, value).is_some() {
            report.mistake(
                &path,
                "a header given twice",
                "each header once; capitals make no difference",
            );
        }
    }
    headers
}

fn check_header_value(report: &mut Report<'_>, path: &Path, name: &str, value: &str) {
    if value.contains(|c: char| c.is_control() && c != '\t') {
        report.mistake(path, quote(value), "a value without line breaks and control characters");
    }
    let parts = match template::parse(value) {
        Ok(parts) => parts,
        Err(error) => return report.mistake(path, error.to_string(), "balanced braces"),
    };
    for part in &parts {
        if let Part::Field(field) = part {
            report.mistake(
                path,
                format!("{{{field}}}"),
                "{env:NAME} only: headers take no fields of the input",
            );
        }
    }
    if SECRET_HEADERS.contains(&name) && !parts.iter().any(|part| matches!(part, Part::Env(_))) {
        report.warning(path, "a secret written out", "{env:NAME}, so that it is never stored");
    }
}

fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(is_token)
}

fn read_command(report: &mut Report<'_>, form: &Form<'_>, schema: Option<&Value>) -> Option<CommandTool> {
    let expected = "a program and its arguments, such as [\"cat\", \"policy.md\"]";
    if !form.has("argv") {
        report.missing(&form.at("argv"), expected);
    }
    let argv = form.texts(report, "argv", ARGUMENTS_MAX).map(|argv| {
        if argv.first().is_none_or(|(_, program)| program.trim().is_empty()) {
            report.mistake(&form.at("argv"), "no program", expected);
        }
        for (index, (path, argument)) in argv.iter().enumerate() {
            check_argument(report, path, argument, (index == 0, schema));
        }
        argv.into_iter().map(|(_, argument)| argument).collect()
    });
    let mut env = Vec::new();
    for (path, name) in form.texts(report, "env", ARGUMENTS_MAX).unwrap_or_default() {
        if !is_environment_name(&name) {
            report.mistake(&path, quote(&name), "the name of an environment variable");
        }
        env.push(name);
    }
    env.sort();
    env.dedup();
    Some(CommandTool {
        argv: argv?,
        env,
        working_dir: form.text(report, "working_dir"),
        not_applied_exit_codes: read_exit_codes(report, form, "not_applied_exit_codes").unwrap_or_default(),
        transient_exit_codes: read_exit_codes(report, form, "transient_exit_codes").unwrap_or_else(|| vec![75]),
        limits: read_limits(report, form),
    })
}

/// The table `limits`, each key with its own default.
fn read_limits(report: &mut Report<'_>, form: &Form<'_>) -> CommandLimits {
    let form = form.section(report, "limits");
    let known = [
        "memory_mib",
        "output_mib",
        "scratch_mib",
        "processes_max",
        "open_files_max",
    ];
    form.only(report, &known);
    let default = CommandLimits::default();
    let mut number = |key, bounds, default| form.small_number(report, key, bounds).unwrap_or(default);
    CommandLimits {
        memory_mib: number("memory_mib", MEMORY_MIB, default.memory_mib),
        output_mib: number("output_mib", OUTPUT_MIB, default.output_mib),
        scratch_mib: number("scratch_mib", SCRATCH_MIB, default.scratch_mib),
        processes_max: number("processes_max", PROCESSES_MAX, default.processes_max),
        open_files_max: number("open_files_max", OPEN_FILES_MAX, default.open_files_max),
    }
}

fn check_argument(report: &mut Report<'_>, path: &Path, argument: &str, place: (bool, Option<&Value>)) {
    let (is_program, schema) = place;
    let parts = match template::parse(argument) {
        Ok(parts) => parts,
        Err(error) => return report.mistake(path, error.to_string(), "balanced braces"),
    };
    for part in parts {
        match part {
            Part::Literal(_) => {}
            Part::Env(name) => {
                let expected = format!("env = [\"{name}\"] instead: arguments can be seen by every process");
                report.mistake(path, format!("{{env:{name}}}"), expected);
            }
            Part::Field(name) if is_program => {
                report.mistake(
                    path,
                    format!("{{{name}}}"),
                    "a fixed program: the model may not choose what is started",
                );
            }
            Part::Field(name) => check_field(report, path, &name, schema),
        }
    }
}

/// Exit codes in order, each once.
fn read_exit_codes(report: &mut Report<'_>, form: &Form<'_>, key: &str) -> Option<Vec<i32>> {
    let items = form.list(report, key, EXIT_CODES_MAX)?;
    let mut codes: Vec<i32> = items
        .into_iter()
        .filter_map(|(path, item)| integer(report, &path, item, EXIT_CODE).and_then(|code| i32::try_from(code).ok()))
        .collect();
    codes.sort_unstable();
    codes.dedup();
    Some(codes)
}

/// A template's field is a property that is there in every input and fits into text.
fn check_field(report: &mut Report<'_>, path: &Path, field: &str, schema: Option<&Value>) {
    // A schema that could not be read has been reported.
    let Some(schema) = schema else { return };
    // Nor is anything said of parts that have another shape than they should: that has been reported too.
    if schema
        .get("properties")
        .is_some_and(|properties| !properties.is_object())
    {
        return;
    }
    let Some(property) = schema
        .pointer("/properties")
        .and_then(|properties| properties.get(field))
    else {
        let known: Vec<&String> = schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .collect();
        let expected = match known.as_slice() {
            [] => "a property of the input schema, which has none".to_owned(),
            known => format!("one of the input's properties: {}", join(known)),
        };
        return report.mistake(path, format!("{{{field}}}"), expected);
    };
    let is_required = match schema.get("required") {
        Some(Value::Array(names)) => names.iter().any(|name| name == field),
        Some(_) => true,
        None => false,
    };
    if !is_required && property.get("default").is_none() {
        let expected = format!("{field} among the input's required properties, or a default for it");
        report.mistake(path, format!("{{{field}}}, which may be missing"), expected);
    }
    if let Some(kind @ ("object" | "array" | "null")) = property["type"].as_str() {
        report.mistake(
            path,
            format!("{{{field}}}, which is of type {kind}"),
            "text, a number or a boolean",
        );
    }
}

fn join(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}
