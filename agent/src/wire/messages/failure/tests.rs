use super::*;

fn body(kind: &str, error_code: Option<&str>) -> String {
    let details = error_code.map_or_else(String::new, |code| format!(r#","details":{{"error_code":"{code}"}}"#));
    format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"Said so"{details}}},"request_id":"req_1"}}"#)
}

fn pause_of(headers: &ResponseFacts<'_>) -> Option<Duration> {
    classify(429, "", headers).retry_after
}

#[test]
fn every_status_has_its_class_code_and_bill() {
    let table = [
        (307, "", ErrorClass::Permanent, "http_redirect", false),
        (
            400,
            "invalid_request_error",
            ErrorClass::Permanent,
            "model_invalid_request",
            false,
        ),
        (
            401,
            "authentication_error",
            ErrorClass::Permanent,
            "model_authentication",
            false,
        ),
        (402, "billing_error", ErrorClass::Permanent, "model_billing", false),
        (
            403,
            "permission_error",
            ErrorClass::Permanent,
            "model_permission",
            false,
        ),
        (404, "not_found_error", ErrorClass::Permanent, "model_not_found", false),
        (408, "", ErrorClass::Transient, "http_408", false),
        (409, "conflict_error", ErrorClass::Transient, "http_409", false),
        (
            413,
            "request_too_large",
            ErrorClass::Permanent,
            "request_too_large",
            false,
        ),
        (418, "", ErrorClass::Permanent, "http_418", false),
        (
            429,
            "rate_limit_error",
            ErrorClass::RateLimited,
            "model_rate_limited",
            false,
        ),
        (500, "api_error", ErrorClass::Transient, "http_500", true),
        (502, "", ErrorClass::Transient, "http_502", true),
        (503, "", ErrorClass::Transient, "http_503", false),
        (504, "timeout_error", ErrorClass::Transient, "http_504", true),
        (524, "", ErrorClass::Transient, "http_524", true),
        (
            529,
            "overloaded_error",
            ErrorClass::Overloaded,
            "model_overloaded",
            false,
        ),
        (101, "", ErrorClass::Unknown, "http_101", false),
    ];
    for (status, kind, class, code, may_be_billed) in table {
        let judged = classify(status, &body(kind, None), &ResponseFacts::default());
        assert_eq!(judged.error.class, class, "{status}");
        assert_eq!(judged.error.code, code, "{status}");
        assert_eq!(judged.may_be_billed, may_be_billed, "{status}");
        assert_eq!(judged.error.fatal, !class.is_retryable(), "{status}");
        assert!(!judged.needs_person, "{status}");
    }
}

#[test]
fn a_spend_cap_needs_a_person_whatever_its_status() {
    for code in [
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    ] {
        for status in [400, 429] {
            let facts = ResponseFacts {
                should_retry: Some("true"),
                ..ResponseFacts::default()
            };
            let judged = classify(status, &body("rate_limit_error", Some(code)), &facts);
            assert_eq!(judged.error.class, ErrorClass::RateLimited);
            assert_eq!(judged.error.code, SPEND_CAP);
            assert!(judged.needs_person);
            assert!(!judged.may_be_billed);
        }
    }
}

#[test]
fn a_ramp_limit_is_an_ordinary_pause() {
    let facts = ResponseFacts {
        retry_after: Some("30"),
        ..ResponseFacts::default()
    };

    let judged = classify(429, &body("rate_limit_error", Some("ramp_limit_exceeded")), &facts);

    assert_eq!(judged.error.code, "model_rate_limited");
    assert_eq!(judged.retry_after, Some(Duration::from_secs(30)));
    assert!(!judged.needs_person);
}

#[test]
fn an_organization_on_hold_needs_a_person() {
    let judged = classify(
        403,
        &body("permission_error", Some("organization_on_hold")),
        &ResponseFacts::default(),
    );

    assert_eq!(judged.error.class, ErrorClass::Permanent);
    assert!(judged.needs_person);
}

#[test]
fn the_endpoint_may_say_itself_whether_to_retry() {
    let say = |should_retry| ResponseFacts {
        should_retry: Some(should_retry),
        ..ResponseFacts::default()
    };

    let wanted = classify(400, "", &say("true")).error;
    let unwanted = classify(529, "", &say("false")).error;
    let mumbled = classify(529, "", &say("perhaps")).error;

    assert_eq!((wanted.class, wanted.fatal), (ErrorClass::Transient, false));
    assert_eq!((unwanted.class, unwanted.fatal), (ErrorClass::Permanent, true));
    assert_eq!(mumbled.class, ErrorClass::Overloaded);
}

#[test]
fn a_pause_is_read_in_each_of_its_forms() {
    let text = |retry_after| ResponseFacts {
        retry_after: Some(retry_after),
        now: DateTime::parse_from_rfc3339("2026-11-20T10:00:00Z")
            .ok()
            .map(|now| now.with_timezone(&Utc)),
        ..ResponseFacts::default()
    };
    assert_eq!(pause_of(&text("7")), Some(Duration::from_secs(7)));
    assert_eq!(pause_of(&text(" 1.5 ")), Some(Duration::from_millis(1500)));
    assert_eq!(
        pause_of(&text("Fri, 20 Nov 2026 10:01:00 GMT")),
        Some(Duration::from_secs(60))
    );
    assert_eq!(pause_of(&text("Fri, 20 Nov 2026 09:59:00 GMT")), None);
    assert_eq!(pause_of(&text("1e300")), Some(RETRY_AFTER_MAX));
    assert_eq!(pause_of(&text("9999999999")), Some(RETRY_AFTER_MAX));
    for nonsense in ["0", "-3", "nan", "soon", ""] {
        assert_eq!(pause_of(&text(nonsense)), None, "{nonsense}");
    }
    let milliseconds = ResponseFacts {
        retry_after_ms: Some("250"),
        ..text("7")
    };
    assert_eq!(pause_of(&milliseconds), Some(Duration::from_millis(250)));
}

#[test]
fn a_date_without_a_clock_is_no_pause() {
    let facts = ResponseFacts {
        retry_after: Some("Fri, 20 Nov 2026 10:01:00 GMT"),
        ..ResponseFacts::default()
    };

    assert_eq!(pause_of(&facts), None);
}

#[test]
fn a_message_is_one_bounded_line() {
    let long = format!(
        r#"{{"error":{{"type":"api_error","message":"a\nb{}"}}}}"#,
        "é".repeat(2000)
    );

    let message = classify(500, &long, &ResponseFacts::default()).error.message;

    assert!(message.starts_with("the model endpoint answered 500 (api_error): a b"));
    assert!(message.chars().count() < 600);
    assert!(message.ends_with('…'));
}

#[test]
fn a_page_of_html_is_not_repeated() {
    let message = classify(502, "<html>secret</html>", &ResponseFacts::default())
        .error
        .message;

    assert_eq!(message, "the model endpoint answered 502 without an explanation");
}

#[test]
fn an_error_within_a_stream_is_judged_by_its_type_and_may_be_billed_once_it_began() {
    let broken = |kind: &str, started| {
        let api = ApiError {
            kind: kind.to_owned(),
            message: "Said so".to_owned(),
            error_code: None,
            request_id: None,
        };
        let judged = broken_reply(&WireError::Api(api), started);
        (judged.error.class, judged.error.code, judged.may_be_billed)
    };
    assert_eq!(
        broken("overloaded_error", true),
        (ErrorClass::Overloaded, "model_overloaded".to_owned(), true)
    );
    assert_eq!(
        broken("overloaded_error", false),
        (ErrorClass::Overloaded, "model_overloaded".to_owned(), false)
    );
    assert_eq!(
        broken("api_error", false),
        (ErrorClass::Transient, "http_500".to_owned(), true)
    );
    assert_eq!(broken("rate_limit_error", true).0, ErrorClass::RateLimited);
    assert_eq!(broken("invalid_request_error", false).0, ErrorClass::Permanent);
    assert_eq!(
        broken("from_tomorrow", false),
        (ErrorClass::Transient, "model_stream_error".to_owned(), true)
    );
}

#[test]
fn a_broken_reply_may_always_be_billed() {
    let codes = [
        (WireError::Incomplete, ErrorClass::Transient, "stream_cut"),
        (
            WireError::Malformed("x"),
            ErrorClass::Transient,
            "model_reply_unreadable",
        ),
        (WireError::TooLarge, ErrorClass::Permanent, "model_reply_too_large"),
    ];
    for (error, class, code) in codes {
        let judged = broken_reply(&error, true);
        assert_eq!((judged.error.class, judged.error.code.as_str()), (class, code));
        assert!(judged.may_be_billed);
    }
}
