//! The top of the file: name, model, limits.

use super::form::Form;
use super::gate::read_breaker;
use super::report::{Path, Report, quote};
use super::tool::read_tools;
use crate::definition::limits::{
    AGENT_NAME_CHARS_MAX, ATTEMPTS_MAX, CAP_MS, DESCRIPTION_CHARS_MAX, HORIZON_SECONDS, INITIAL_MS, MAX_TOKENS,
    NAME_CHARS_MAX, TIMEOUT_SECONDS, TOOL_CALLS_PER_TURN_MAX, TURN_SECONDS, TURNS_MAX, WALL_CLOCK_SECONDS,
};
use crate::definition::{Agent, Limits, Model, OnRefusal, RetryPolicy};
use toml::de::DeTable;

const API_VERSIONS: [(&str, &str); 2] = [(Model::API_VERSION, Model::API_VERSION), ("2026-10-21", "2026-10-21")];

const MODEL_RETRY: RetryPolicy = RetryPolicy {
    attempts_max: 5,
    initial_ms: 1_000,
    cap_ms: 60_000,
    horizon_seconds: 3_600,
};

/// What the file says; `None` only where something was reported.
pub(super) fn read_agent(report: &mut Report<'_>, table: &DeTable<'_>) -> Option<Agent> {
    let form = Form::new(Path::root(), table);
    form.only(
        report,
        &[
            "name",
            "description",
            "system",
            "on_refusal",
            "summarise_failures",
            "model",
            "limits",
            "tool",
        ],
    );
    let name = read_name(report, &form);
    let description = form
        .text(report, "description")
        .filter(|text| is_short(report, &form.at("description"), text));
    let system = form.text(report, "system");
    let on_refusal = form.choice(
        report,
        "on_refusal",
        &[("fail", OnRefusal::Fail), ("ask", OnRefusal::Ask)],
    );
    let summarise_failures = form.flag(report, "summarise_failures").unwrap_or(true);
    let model = read_model(report, &form);
    let limits = read_limits(report, &form);
    let tools = read_tools(report, &form);
    Some(Agent {
        name: name?,
        description,
        system,
        model: model?,
        limits,
        on_refusal: on_refusal.unwrap_or(OnRefusal::Fail),
        summarise_failures,
        tools,
    })
}

fn read_name(report: &mut Report<'_>, form: &Form<'_>) -> Option<String> {
    let expected = "lower-case letters, digits and -, at most 63, beginning with a letter or digit";
    let name = form.required(report, "name", expected)?;
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() > AGENT_NAME_CHARS_MAX || !name.bytes().all(is_inner) || name.starts_with('-') {
        report.mistake(&form.at("name"), quote(&name), expected);
    }
    Some(name)
}

/// Whether a description keeps its bound.
pub(super) fn is_short(report: &mut Report<'_>, path: &Path, text: &str) -> bool {
    let chars = text.chars().count();
    if chars > DESCRIPTION_CHARS_MAX {
        report.mistake(
            path,
            format!("{chars} characters"),
            format!("at most {DESCRIPTION_CHARS_MAX}"),
        );
    }
    chars <= DESCRIPTION_CHARS_MAX
}

fn read_model(report: &mut Report<'_>, form: &Form<'_>) -> Option<Model> {
    if !form.has("model") {
        report.missing(&form.at("model"), "a [model] table with name and max_tokens");
        return None;
    }
    let form = form.section(report, "model");
    let known = [
        "name",
        "api_version",
        "max_tokens",
        "stream",
        "timeout_seconds",
        "first_byte_timeout_seconds",
        "idle_timeout_seconds",
        "retry",
        "breaker",
    ];
    form.only(report, &known);
    let name = form.required(report, "name", "the provider's model id").filter(|name| {
        let fits = name.len() <= NAME_CHARS_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            report.mistake(&form.at("name"), quote(name), "the provider's model id, without spaces");
        }
        fits
    });
    if !form.has("max_tokens") {
        report.missing(&form.at("max_tokens"), "the most tokens that one answer may have");
    }
    let max_tokens = form.small_number(report, "max_tokens", MAX_TOKENS);
    let api_version = form
        .choice(report, "api_version", &API_VERSIONS)
        .unwrap_or(Model::API_VERSION);
    let stream = form.flag(report, "stream").unwrap_or(true);
    let timeout_seconds = form
        .small_number(report, "timeout_seconds", TIMEOUT_SECONDS)
        .unwrap_or(600);
    let first_byte_timeout_seconds = form.small_number(report, "first_byte_timeout_seconds", TIMEOUT_SECONDS);
    let idle_timeout_seconds = form
        .small_number(report, "idle_timeout_seconds", TIMEOUT_SECONDS)
        .unwrap_or(120);
    let retry = read_retry(report, &form, &MODEL_RETRY);
    let breaker = read_breaker(report, &form);
    Some(Model {
        name: name?,
        api_version: api_version.to_owned(),
        max_tokens: max_tokens?,
        stream,
        timeout_seconds,
        first_byte_timeout_seconds,
        idle_timeout_seconds,
        retry,
        breaker,
    })
}

fn read_limits(report: &mut Report<'_>, form: &Form<'_>) -> Limits {
    let form = form.section(report, "limits");
    let known = [
        "turns_max",
        "tool_calls_per_turn_max",
        "turn_seconds",
        "wall_clock_seconds",
        "parallel_tool_calls",
    ];
    form.only(report, &known);
    let calls = form.small_number(report, "tool_calls_per_turn_max", TOOL_CALLS_PER_TURN_MAX);
    Limits {
        turns_max: form.small_number(report, "turns_max", TURNS_MAX).unwrap_or(20),
        tool_calls_per_turn_max: calls.unwrap_or(8),
        turn_seconds: form.number(report, "turn_seconds", TURN_SECONDS),
        wall_clock_seconds: form
            .number(report, "wall_clock_seconds", WALL_CLOCK_SECONDS)
            .unwrap_or(30 * 24 * 60 * 60),
        parallel_tool_calls: form.flag(report, "parallel_tool_calls").unwrap_or(true),
    }
}

/// The table `retry`, each key with its own default.
pub(super) fn read_retry(report: &mut Report<'_>, form: &Form<'_>, default: &RetryPolicy) -> RetryPolicy {
    let form = form.section(report, "retry");
    form.only(report, &["attempts_max", "initial_ms", "cap_ms", "horizon_seconds"]);
    let retry = RetryPolicy {
        attempts_max: form
            .small_number(report, "attempts_max", ATTEMPTS_MAX)
            .unwrap_or(default.attempts_max),
        initial_ms: form
            .number(report, "initial_ms", INITIAL_MS)
            .unwrap_or(default.initial_ms),
        cap_ms: form.number(report, "cap_ms", CAP_MS).unwrap_or(default.cap_ms),
        horizon_seconds: form
            .number(report, "horizon_seconds", HORIZON_SECONDS)
            .unwrap_or(default.horizon_seconds),
    };
    if retry.initial_ms > retry.cap_ms {
        let key = if form.has("initial_ms") { "initial_ms" } else { "cap_ms" };
        let found = format!(
            "a first delay of {} ms above the longest of {} ms",
            retry.initial_ms, retry.cap_ms
        );
        report.mistake(&form.at(key), found, "initial_ms at most cap_ms");
    }
    retry
}
