//! The pages of `docs/errors/` for the codes that this server tells: each is the one source of its code's title.

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

macro_rules! pages {
    ($($code:literal,)*) => {
        &[$(($code, include_str!(concat!("../../../docs/errors/", $code, ".md"))),)*]
    };
}

/// In order of the codes.
static PAGES: &[(&str, &str)] = pages![
    "agent_missing",
    "bad_cursor",
    "bad_header",
    "bad_id",
    "bad_parameter",
    "batch_too_large",
    "body_too_deep",
    "body_too_large",
    "cross_site_request",
    "database_error",
    "database_unavailable",
    "headers_too_large",
    "history_too_deep",
    "history_too_large",
    "incomplete_body",
    "input_too_deep",
    "input_too_large",
    "internal_error",
    "invalid_agent_file",
    "invalid_body",
    "invalid_history",
    "invalid_input",
    "invalid_key",
    "invalid_labels",
    "invalid_name",
    "invalid_priority",
    "key_reused",
    "malformed_json",
    "malformed_text",
    "method_not_allowed",
    "no_such_agent",
    "no_such_agent_version",
    "no_such_event",
    "no_such_route",
    "no_such_run",
    "not_resumable",
    "request_timeout",
    "run_has_ended",
    "timed_out",
    "too_many_streams",
    "unauthorized",
    "unknown_field",
    "unknown_kind",
    "unknown_outcome",
    "unknown_parameter",
    "unknown_schema",
    "unreadable_row",
    "unsupported_media_type",
    "wrong_host",
];

#[cfg(test)]
mod tests;
