//! The pages of `docs/errors/`: each is the one source of its code's title. Those that only the command line tells are
//! here too, so that one address shows them all.

/// A code's page, as Markdown.
pub(crate) fn page(code: &str) -> Option<&'static str> {
    let found = PAGES.binary_search_by_key(&code, |(known, _)| known).ok()?;
    PAGES.get(found).map(|(_, page)| *page)
}

/// A code in words: its page's first sentence.
pub(crate) fn title(code: &str) -> Option<&'static str> {
    let sentence = page(code)?.lines().find_map(|line| line.strip_prefix("**"))?;
    sentence.split_once(".**").map(|(title, _)| title)
}

/// Of all codes.
pub(crate) const INDEX: &str = include_str!("../../../docs/errors/README.md");
/// What is recorded on steps, by class.
pub(crate) const STEPS: &str = include_str!("../../../docs/errors/steps.md");

macro_rules! pages {
    ($($code:literal,)*) => {
        &[$(($code, include_str!(concat!("../../../docs/errors/", $code, ".md"))),)*]
    };
}

/// In order of the codes.
static PAGES: &[(&str, &str)] = pages![
    "agent_missing",
    "already_decided",
    "approval_closed",
    "bad_cursor",
    "bad_header",
    "bad_id",
    "bad_parameter",
    "batch_too_large",
    "body_too_deep",
    "body_too_large",
    "cannot_listen",
    "connection_refused",
    "cross_site_request",
    "database_error",
    "database_unavailable",
    "failed",
    "headers_too_large",
    "history_too_deep",
    "history_too_large",
    "incomplete_body",
    "input_too_deep",
    "input_too_large",
    "internal_error",
    "interrupted",
    "invalid_agent_file",
    "invalid_body",
    "invalid_breaker",
    "invalid_config",
    "invalid_database_url",
    "invalid_deadline",
    "invalid_decision",
    "invalid_history",
    "invalid_input",
    "invalid_key",
    "invalid_kind",
    "invalid_labels",
    "invalid_log_filter",
    "invalid_model_endpoint",
    "invalid_name",
    "invalid_payload",
    "invalid_priority",
    "invalid_result",
    "invalid_runs",
    "invalid_runs_file",
    "invalid_script",
    "invalid_signal",
    "invalid_time",
    "key_conflict",
    "key_reused",
    "malformed_json",
    "malformed_text",
    "method_not_allowed",
    "missing_api_key",
    "no_database",
    "no_postgres",
    "no_such_agent",
    "no_such_agent_version",
    "no_such_approval",
    "no_such_breaker",
    "no_such_event",
    "no_such_route",
    "no_such_run",
    "not_an_agent",
    "not_healthy",
    "not_resumable",
    "not_set",
    "other_postgres",
    "output_lost",
    "payload_too_deep",
    "payload_too_large",
    "postgres_died",
    "request_timeout",
    "result_too_deep",
    "result_too_large",
    "run_has_ended",
    "signal_id_reused",
    "state_folder_damaged",
    "state_folder_in_use",
    "state_folder_unusable",
    "timed_out",
    "token_required",
    "too_early",
    "too_many_streams",
    "unauthorized",
    "unknown_field",
    "unknown_outcome",
    "unknown_parameter",
    "unknown_schema",
    "unknown_setting",
    "unreadable_file",
    "unreadable_row",
    "unsupported_media_type",
    "usage",
    "verb_not_allowed",
    "wrong_host",
];

#[cfg(test)]
mod tests;
