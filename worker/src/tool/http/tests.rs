mod misbehaving;

use crate::tool::scene::{AMPLE, BRIEF, Scene, Server, Then, read_request};
use agent::ErrorClass;
use agent::definition::ToolAction;
use agent::tool::OUTPUT_BYTES_MAX;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test]
async fn the_stored_request_is_sent_with_the_key_and_the_engines_headers() {
    let server = Server::with_status("200 OK", "", "{\"ok\":true}").await;

    let attempt = Scene::http(&server.url).with_header("X-Team", "blue").call().await;

    assert_eq!(attempt.done().content, "{\"ok\":true}");
    let request = server.request().await;
    assert!(request.starts_with("POST /do HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"n\":1}"), "{request}");
    for header in [
        "idempotency-key: lh_key_1",
        "longhaul-run: run-1",
        "longhaul-step: 7",
        "longhaul-attempt: 2",
        "longhaul-worker: worker-a",
        "longhaul-tenant: acme",
        "longhaul-requester: ada",
        "content-type: application/json",
        "x-team: blue",
    ] {
        assert!(
            request.contains(&format!("\r\n{header}\r\n")),
            "no {header} in {request}"
        );
    }
}

#[tokio::test]
async fn a_requester_of_any_letters_fits_into_a_header() {
    let server = Server::with_status("200 OK", "", "").await;

    Scene::http(&server.url)
        .asked_by("Zoë 100%\r\nx-evil: 1")
        .call()
        .await
        .done();

    let request = server.request().await;
    assert!(
        request.contains("\r\nlonghaul-requester: Zo%C3%AB 100%25%0D%0Ax-evil: 1\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn a_header_of_the_definition_cannot_take_the_place_of_the_key() {
    let server = Server::with_status("200 OK", "", "").await;

    Scene::http(&server.url)
        .with_header("idempotency-key", "mine")
        .call()
        .await
        .done();

    let request = server.request().await;
    assert!(request.contains("\r\nidempotency-key: lh_key_1\r\n"), "{request}");
    assert!(!request.contains("mine"), "{request}");
}

#[tokio::test]
async fn the_definition_may_name_its_own_content_type() {
    let server = Server::with_status("200 OK", "", "").await;

    Scene::http(&server.url)
        .with_header("content-type", "application/merge-patch+json")
        .call()
        .await
        .done();

    let request = server.request().await;
    assert!(
        request.contains("\r\ncontent-type: application/merge-patch+json\r\n"),
        "{request}"
    );
    assert!(!request.contains("content-type: application/json\r\n"), "{request}");
}

#[tokio::test]
async fn a_request_without_body_has_no_content_type() {
    let server = Server::with_status("204 No Content", "", "").await;

    let attempt = Scene::http(&server.url).with_body(None).call().await;

    assert_eq!(attempt.done().content, "");
    assert!(!server.request().await.contains("content-type"));
}

#[tokio::test]
async fn secrets_are_put_in_at_sending() {
    let server = Server::with_status("200 OK", "", "").await;

    Scene::http(format!("{}?key={{env:API_KEY}}", server.url))
        .with_header("authorization", "Bearer {env:API_KEY}")
        .with_environment(&[("API_KEY", "s3cret-key")])
        .call()
        .await
        .done();

    let request = server.request().await;
    assert!(request.starts_with("POST /do?key=s3cret-key "), "{request}");
    assert!(
        request.contains("\r\nauthorization: Bearer s3cret-key\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn a_model_cannot_name_a_secret_into_the_body() {
    let server = Server::with_status("200 OK", "", "").await;

    Scene::http(&server.url)
        .with_body(Some(r#"{"note":"{env:API_KEY}"}"#))
        .with_environment(&[("API_KEY", "s3cret-key")])
        .call()
        .await
        .done();

    assert!(server.request().await.ends_with(r#"{"note":"{env:API_KEY}"}"#));
}

#[tokio::test]
async fn without_its_secret_nothing_is_sent_and_the_run_fails() {
    let error = Scene::http("http://127.0.0.1:1/")
        .with_header("x", "{env:API_KEY}")
        .call()
        .await
        .unsent();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "missing_secret")
    );
    assert!(error.fatal);
    assert!(error.message.contains("API_KEY"), "{}", error.message);
}

#[tokio::test]
async fn a_secret_that_no_header_can_carry_is_not_sent_and_not_shown() {
    let attempt = Scene::http("http://127.0.0.1:1/")
        .with_header("x", "{env:API_KEY}")
        .with_environment(&[("API_KEY", "s3cret\r\nkey")])
        .call()
        .await;

    assert!(!format!("{attempt:?}").contains("s3cret"));
    let error = attempt.unsent();
    assert_eq!(error.code, "invalid_request");
    assert!(error.fatal);
}

#[tokio::test]
async fn an_url_that_is_none_is_not_sent() {
    for url in ["nowhere", "ftp://host/file", "http://"] {
        let error = Scene::http(url).call().await.unsent();
        assert_eq!(error.code, "invalid_request", "{url}");
        assert!(error.fatal, "{url}");
    }
}

#[tokio::test]
async fn an_echoed_secret_is_hidden_in_output_message_and_evidence() {
    let body = r#"{"you":"Bearer s3cret-key"}"#;
    for status in [
        "200 OK",
        "422 Unprocessable Entity",
        "500 Internal Server Error",
        "401 Unauthorized",
    ] {
        let headers = "x-request-id: id-s3cret-key\r\n";
        let server = Server::with_status(status, headers, body).await;

        let attempt = Scene::http(format!("{}?key={{env:API_KEY}}", server.url))
            .with_environment(&[("API_KEY", "s3cret-key")])
            .call()
            .await;

        let shown = format!("{attempt:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("{env:API_KEY}"), "{shown}");
    }
}

#[tokio::test]
async fn no_secret_is_shown_when_the_connection_fails() {
    let attempt = Scene::http(format!("http://{}/?key={{env:API_KEY}}", refusing().await))
        .with_environment(&[("API_KEY", "s3cret-key")])
        .call()
        .await;

    assert!(!format!("{attempt:?}").contains("s3cret"), "{attempt:?}");
}

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let address = refusing().await;

    let attempt = Scene::http(format!("http://{address}/")).call().await;

    assert_eq!(attempt.evidence["host"], address);
    let error = attempt.unsent();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connection_refused")
    );
    assert!(!error.fatal);
}

#[tokio::test]
async fn a_host_that_does_not_exist_was_not_sent() {
    let error = Scene::http("http://nowhere.invalid/").call().await.unsent();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connect_failed")
    );
}

#[tokio::test]
async fn a_handshake_that_fails_was_not_sent() {
    let server = Server::serving(|mut stream| async move {
        let _ = stream.write_all(b"this is not TLS at all").await;
        String::new()
    })
    .await;

    let error = Scene::http(server.url.replace("http:", "https:")).call().await.unsent();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connect_failed")
    );
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_was_not_sent() {
    let server = Server::answering("", Then::StayOpen).await;

    // The server takes the connection and never answers the TLS handshake.
    let error = Scene::http(server.url.replace("http:", "https:"))
        .within(BRIEF)
        .call()
        .await
        .unsent();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connect_timeout")
    );
    assert!(error.message.contains("100 ms"), "{}", error.message);
}

#[tokio::test]
async fn a_reset_after_sending_is_ambiguous() {
    let server = Server::answering("", Then::Reset).await;

    let (error, _) = Scene::http(&server.url).call().await.ambiguous();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connection_lost")
    );
}

#[tokio::test]
async fn a_connection_closed_without_a_reply_is_ambiguous() {
    let server = Server::answering("", Then::Close).await;

    assert_eq!(
        Scene::http(&server.url).call().await.ambiguous().0.code,
        "connection_lost"
    );
}

#[tokio::test]
async fn a_reply_that_is_not_http_is_ambiguous() {
    let server = Server::answering("SSH-2.0-OpenSSH_9.9\r\n\r\n", Then::Close).await;

    assert_eq!(
        Scene::http(&server.url).call().await.ambiguous().0.code,
        "connection_lost"
    );
}

#[tokio::test]
async fn a_good_reply_that_breaks_off_is_ambiguous() {
    for then in [Then::Close, Then::Reset] {
        let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this", then).await;

        let (error, _) = Scene::http(&server.url).call().await.ambiguous();

        // A reset may overtake the head; then there was no reply at all.
        let cut = error.code == "reply_cut" || (then == Then::Reset && error.code == "connection_lost");
        assert!(cut, "{error:?}");
        assert_eq!(error.class, ErrorClass::Transient);
    }
}

#[tokio::test]
async fn a_refusal_whose_explanation_breaks_off_is_still_a_refusal() {
    let reply = "HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 100\r\n\r\namount is";
    let server = Server::answering(reply, Then::Close).await;

    let attempt = Scene::http(&server.url).call().await;

    assert_eq!(attempt.evidence["reply"], "broken");
    let (error, _) = attempt.not_applied();
    assert_eq!(error.code, "http_422");
    assert!(error.message.ends_with("amount is"), "{}", error.message);
}

#[tokio::test]
async fn silence_is_a_timeout_and_says_which_limit_it_was() {
    let server = Server::answering("", Then::StayOpen).await;

    let attempt = Scene::http(&server.url).within(BRIEF).call().await;

    assert_eq!(attempt.evidence["limit"]["timeout_ms"], 250);
    assert_eq!(attempt.evidence["limit"]["bound_by"], "run");
    let (error, _) = attempt.ambiguous();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Timeout, "tool_timeout")
    );
    assert!(error.message.contains("250 ms"), "{}", error.message);
    assert!(error.message.contains("limits.wall_clock_seconds"), "{}", error.message);
    assert!(error.suggestion.is_some());
}

#[tokio::test]
async fn of_the_limits_on_a_call_the_smallest_ends_it_and_is_named() {
    let silent = "";
    let begun = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ndrip";
    let cases = [
        (silent, [Some(1), None], "first_byte_timeout", "first_byte"),
        (begun, [Some(1), Some(1)], "idle_timeout", "idle"),
        (begun, [None, Some(60)], "tool_timeout", "run"),
    ];
    for (reply, [first_byte, idle], code, bound) in cases {
        let server = Server::answering(reply, Then::StayOpen).await;
        let mut scene = Scene::http(&server.url).within(Duration::from_secs(3));
        if let ToolAction::Http(http) = &mut scene.tool.action {
            http.first_byte_timeout_seconds = first_byte;
            http.idle_timeout_seconds = idle;
        }

        let attempt = scene.call().await;

        assert_eq!(attempt.evidence["limit"]["bound_by"], bound);
        let (error, _) = attempt.ambiguous();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Timeout, code));
        assert_eq!(json!(error.limit.unwrap().bound_by), bound);
    }
}

#[test]
fn connecting_has_a_limit_of_its_own_that_ends_before_the_call() {
    let limit = |own, call: f64| {
        let scene = Scene::http("http://127.0.0.1/");
        let ToolAction::Http(mut http) = scene.tool.action else {
            unreachable!("it is an HTTP tool");
        };
        http.connect_timeout_seconds = own;
        super::connect_limit(&http, Duration::from_secs_f64(call)).timeout
    };

    assert_eq!(limit(Some(2), 30.0), Duration::from_secs(2));
    assert_eq!(limit(None, 30.0), Duration::from_secs(5));
    assert_eq!(
        limit(Some(10), 3.0),
        Duration::from_secs(2),
        "the call's own is smaller"
    );
    assert_eq!(limit(None, 0.3), Duration::from_millis(100));
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_timeout() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ndrip", Then::StayOpen).await;

    let (error, _) = Scene::http(&server.url).within(BRIEF).call().await.ambiguous();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Timeout, "tool_timeout")
    );
}

#[tokio::test]
async fn a_huge_body_is_read_only_so_far_and_cut_with_its_size_told() {
    let body = "x".repeat(3 * 1024 * 1024);
    let server = Server::with_status("200 OK", "", &body).await;

    let attempt = Scene::http(&server.url).within(AMPLE).call().await;

    assert_eq!(attempt.evidence["reply"], "capped");
    let output = attempt.done();
    assert!(output.content.len() <= OUTPUT_BYTES_MAX);
    assert!(output.content.ends_with(" of 3145728 bytes shown]"));
    assert_eq!(output.notes.len(), 1);
}

#[tokio::test]
async fn an_endless_body_of_unknown_length_is_cut() {
    let server = Server::serving(|mut stream| async move {
        let request = read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
        request
    })
    .await;

    let output = Scene::http(&server.url).call().await.done();

    assert!(output.content.ends_with(" of more than 1048576 bytes shown]"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_target_is_named() {
    let server = Server::with_status("302 Found", "location: https://elsewhere/x?key=s3cret-key\r\n", "").await;

    let attempt = Scene::http(format!("{}?key={{env:API_KEY}}", server.url))
        .with_environment(&[("API_KEY", "s3cret-key")])
        .call()
        .await;

    let (error, _) = attempt.ambiguous();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Permanent, "http_302"));
    assert!(
        error.message.contains("https://elsewhere/x?key={env:API_KEY};"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn the_evidence_names_status_host_and_the_targets_own_id() {
    let server = Server::with_status("503 Service Unavailable", "x-request-id: req-9\r\n", "busy").await;

    let attempt = Scene::http(&server.url).call().await;

    assert_eq!(attempt.evidence["kind"], "http");
    assert_eq!(attempt.evidence["status"], 503);
    assert_eq!(attempt.evidence["request_id"], "req-9");
    assert_eq!(attempt.evidence["bytes"], 4);
    assert_eq!(attempt.evidence["limit"]["bound_by"], "call");
    assert!(server.url.contains(attempt.evidence["host"].as_str().unwrap()));
}

#[tokio::test]
async fn a_pause_asked_for_is_handed_on() {
    for (status, headers) in [
        ("429 Too Many Requests", "retry-after: 7\r\n"),
        (
            "429 Too Many Requests",
            "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:28:07 GMT\r\n",
        ),
        // Without a date of its own, from the instant at which the attempt began.
        (
            "429 Too Many Requests",
            "retry-after: Wed, 21 Oct 2015 12:00:07 GMT\r\n",
        ),
        (
            "429 Too Many Requests",
            "date: today\r\nretry-after: Wed, 21 Oct 2015 12:00:07 GMT\r\n",
        ),
    ] {
        let server = Server::with_status(status, headers, "").await;
        let (error, retry_after) = Scene::http(&server.url).call().await.not_applied();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::RateLimited, "http_429")
        );
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }

    for far in [
        "99999999999999999",
        "99999999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        let headers = format!("retry-after: {far}\r\n");
        let server = Server::with_status("503 Service Unavailable", &headers, "").await;
        let (error, retry_after) = Scene::http(&server.url).call().await.ambiguous();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "http_503"));
        assert_eq!(retry_after, Some(Duration::from_secs(30 * 24 * 60 * 60)), "{far}");
    }
}

#[tokio::test]
async fn a_nul_in_an_explanation_is_not_recorded() {
    let server = Server::with_status("400 Bad Request", "", "a\0b").await;

    let (error, _) = Scene::http(&server.url).call().await.not_applied();

    assert!(error.message.ends_with("a\u{FFFD}b"), "{}", error.message);
}

/// An address at which nobody listens.
async fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}
