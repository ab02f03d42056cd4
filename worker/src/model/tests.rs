use super::*;
use agent::definition::{Model, RetryPolicy};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

mod endpoint;
mod limits;

use endpoint::{Act, Endpoint, answer, perform, write};

/// Far more than any test takes; where it ends a test, something hangs.
const LONG: Duration = Duration::from_secs(20);
/// When every attempt of these tests begins.
const NOON: &str = "1998-11-20T12:00:00Z";
const SHORT: Duration = Duration::from_millis(80);

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nrequest-id: req_1\r\n\
    anthropic-ratelimit-requests-remaining: 49\r\nconnection: close\r\n\r\n";
const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\
    \"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n";
const TEXT: &str = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
    event: ping\ndata: {\"type\": \"ping\"}\n\n: a comment\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Grüß \"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"dich\"}}\n\n\
    event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
const END: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n\
    event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const ASSEMBLED: &str = "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\
    \"content\":[{\"type\":\"text\",\"text\":\"Grüß dich\"}],\"stop_reason\":\"end_turn\",\
    \"usage\":{\"input_tokens\":10,\"output_tokens\":5}}";
const WHOLE: &str = "{ \"id\":\"msg_2\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}],\
    \"stop_reason\":\"end_turn\" }\n";

const BODY: &str = "{\"model\":\"m\",\"messages\":[]}";

fn model() -> Model {
    Model {
        name: "m".to_owned(),
        api_version: "2026-10-21".to_owned(),
        max_tokens: 100,
        stream: true,
        timeout_seconds: 600,
        first_byte_timeout_seconds: None,
        idle_timeout_seconds: 120,
        breaker: agent::gate::Breaker::default(),
        retry: RetryPolicy {
            attempts_max: 3,
            initial_ms: 500,
            cap_ms: 8000,
            horizon_seconds: 600,
        },
    }
}

fn client(base_url: &str) -> ModelClient {
    ModelClient::new(&ModelEndpoint {
        base_url: base_url.to_owned(),
        api_key: Some("sk-very-secret".into()),
    })
    .unwrap()
}

fn call(model: &Model, timeout: Duration, idle_timeout: Duration) -> ModelCall<'_> {
    ModelCall {
        idle_timeout,
        ..ModelCall::new(BODY, model, CallLimit::own(timeout), NOON.parse().unwrap())
    }
}

impl Endpoint {
    fn client(&self) -> ModelClient {
        client(&format!("http://{}/", self.address))
    }

    async fn call(&self) -> ModelAttempt {
        self.client().call(call(&model(), LONG, LONG), |_| {}).await
    }
}

fn not_sent(attempt: ModelAttempt) -> StepError {
    let AttemptOutcome::NotSent(error) = &attempt.outcome else {
        panic!("{attempt:?}");
    };
    error.clone()
}

fn not_applied(attempt: ModelAttempt) -> (StepError, Option<Duration>) {
    let AttemptOutcome::NotApplied { error, retry_after } = &attempt.outcome else {
        panic!("{attempt:?}");
    };
    (error.clone(), *retry_after)
}

fn ambiguous(attempt: ModelAttempt) -> (StepError, Value) {
    let AttemptOutcome::Ambiguous { error, .. } = &attempt.outcome else {
        panic!("{attempt:?}");
    };
    (error.clone(), attempt.evidence)
}

#[tokio::test]
async fn a_stream_becomes_a_message_and_its_text_is_shown_as_it_comes() {
    let endpoint = Endpoint::new(vec![
        write(STREAM_HEAD),
        write(START),
        write(TEXT),
        write(END),
        Act::Silence,
    ])
    .await;
    let mut shown = Vec::new();

    let attempt = endpoint
        .client()
        .call(call(&model(), LONG, LONG), |text| shown.push(text.to_owned()))
        .await;

    assert_eq!(attempt.outcome, AttemptOutcome::Done(ASSEMBLED.to_owned()));
    assert_eq!(shown, ["Grüß ", "dich"]);
    assert_eq!(
        attempt.evidence,
        json!({
            "endpoint": "127.0.0.1", "http_status": 200, "request_id": "req_1", "message_id": "msg_1",
            "rate_limits": {"anthropic-ratelimit-requests-remaining": "49"},
        })
    );
}

#[tokio::test]
async fn a_request_carries_its_bytes_its_version_and_the_key() {
    let endpoint = Endpoint::new(vec![answer("200 OK", "", WHOLE)]).await;

    endpoint.call().await;

    let request = endpoint.request.await.unwrap();
    let lower = request.to_ascii_lowercase();
    assert!(request.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(&format!("\r\n\r\n{BODY}")), "{request}");
    assert!(lower.contains("\r\nx-api-key: sk-very-secret\r\n"));
    assert!(lower.contains("\r\nanthropic-version: 2026-10-21\r\n"));
    assert!(lower.contains("\r\ncontent-type: application/json\r\n"));
}

#[tokio::test]
async fn a_reply_that_is_not_streamed_is_kept_as_it_came() {
    let endpoint = Endpoint::new(vec![answer("200 OK", "content-type: application/json\r\n", WHOLE)]).await;
    let mut shown = String::new();

    let attempt = endpoint
        .client()
        .call(call(&model(), LONG, LONG), |text| shown.push_str(text))
        .await;

    assert_eq!(attempt.outcome, AttemptOutcome::Done(WHOLE.to_owned()));
    assert_eq!(attempt.evidence["message_id"], "msg_2");
    assert_eq!(shown, "Hi");
}

#[tokio::test]
async fn a_stream_may_come_in_pieces_that_cut_its_characters() {
    let pieces = format!("{START}{TEXT}{END}")
        .as_bytes()
        .chunks(3)
        .map(<[u8]>::to_vec)
        .collect();
    let endpoint = Endpoint::new(vec![write(STREAM_HEAD), Act::Drip(pieces, Duration::ZERO)]).await;

    let attempt = endpoint.call().await;

    assert_eq!(attempt.outcome, AttemptOutcome::Done(ASSEMBLED.to_owned()));
}

#[tokio::test]
async fn a_cut_stream_is_ambiguous_and_leaves_its_usage() {
    for end in [vec![], vec![Act::Reset]] {
        let mut acts = vec![write(STREAM_HEAD), write(START), write(TEXT)];
        acts.extend(end);
        let endpoint = Endpoint::new(acts).await;

        let (error, evidence) = ambiguous(endpoint.call().await);

        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Transient, "stream_cut")
        );
        // A reset may overtake what was sent before it.
        if evidence.get("message_id").is_some() {
            assert_eq!(
                evidence["partial_usage"],
                json!({"input_tokens": 10, "output_tokens": 1})
            );
        }
    }
}

#[tokio::test]
async fn a_body_cut_before_its_length_is_ambiguous() {
    let endpoint = Endpoint::new(vec![write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"id\":")]).await;

    let (error, evidence) = ambiguous(endpoint.call().await);

    assert_eq!(error.code, "stream_cut");
    assert_eq!(evidence["http_status"], 200);
}

#[tokio::test]
async fn a_connection_lost_before_the_answer_is_ambiguous() {
    let endpoint = Endpoint::new(vec![]).await;

    let (error, _) = ambiguous(endpoint.call().await);

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connection_lost")
    );
}

#[tokio::test]
async fn a_silent_stream_is_ended_by_the_limit_on_silence() {
    let endpoint = Endpoint::new(vec![write(STREAM_HEAD), write(START), Act::Silence]).await;

    let (error, evidence) = ambiguous(endpoint.client().call(call(&model(), LONG, SHORT), |_| {}).await);

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Timeout, "model_idle_timeout")
    );
    assert_eq!(evidence["bound_by"], "model_idle_timeout");
    assert_eq!(evidence["message_id"], "msg_1");
    assert_eq!(evidence["partial_usage"]["input_tokens"], 10);
}

#[tokio::test]
async fn pings_are_life() {
    let ping = b"event: ping\ndata: {\"type\": \"ping\"}\n\n".to_vec();
    let pings = Act::Drip(vec![ping; 24], SHORT / 4);
    let endpoint = Endpoint::new(vec![write(STREAM_HEAD), write(START), pings, write(TEXT), write(END)]).await;

    let attempt = endpoint.client().call(call(&model(), LONG, SHORT * 5), |_| {}).await;

    assert_eq!(attempt.outcome, AttemptOutcome::Done(ASSEMBLED.to_owned()));
}

#[tokio::test]
async fn pings_do_not_outlast_the_whole_calls_limit() {
    let ping = b"event: ping\ndata: {\"type\": \"ping\"}\n\n".to_vec();
    let endpoint = Endpoint::new(vec![
        write(STREAM_HEAD),
        write(START),
        Act::Drip(vec![ping; 8], SHORT / 8),
        Act::Silence,
    ])
    .await;

    let (error, evidence) = ambiguous(endpoint.client().call(call(&model(), SHORT * 2, LONG), |_| {}).await);

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Timeout, "model_timeout")
    );
    assert_eq!(evidence["bound_by"], "model_timeout");
    assert_eq!(evidence["message_id"], "msg_1");
    assert_eq!(evidence["partial_usage"]["input_tokens"], 10);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_ended_by_the_whole_calls_limit() {
    let endpoint = Endpoint::new(vec![Act::Silence]).await;

    let (error, evidence) = ambiguous(endpoint.client().call(call(&model(), SHORT, LONG), |_| {}).await);

    assert_eq!(error.code, "model_timeout");
    assert_eq!(evidence.get("http_status"), None);
}

#[tokio::test]
async fn dropping_a_call_cuts_its_stream() {
    let endpoint = Endpoint::new(vec![write(STREAM_HEAD), write(START), write(TEXT), Act::Silence]).await;
    let client = endpoint.client();
    let model = model();
    let (seen_text, text_seen) = oneshot::channel();
    let mut seen_text = Some(seen_text);
    let on_text = |_: &str| {
        if let Some(seen) = seen_text.take() {
            seen.send(()).unwrap();
        }
    };

    tokio::select! {
        attempt = client.call(call(&model, LONG, LONG), on_text) => panic!("{attempt:?}"),
        seen = text_seen => seen.unwrap(),
    }

    timeout(LONG, endpoint.caller_left)
        .await
        .expect("the connection stayed open")
        .unwrap();
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);

    let error = not_sent(
        client(&format!("http://{address}"))
            .call(call(&model(), LONG, LONG), |_| {})
            .await,
    );

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connection_refused")
    );
}

#[tokio::test]
async fn a_handshake_that_fails_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 this is no TLS\r\n\r\n").await.unwrap();
        perform(&mut stream, vec![Act::Silence]).await;
    });

    let error = not_sent(
        client(&format!("https://{address}"))
            .call(call(&model(), LONG, LONG), |_| {})
            .await,
    );

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connection_failed")
    );
}

#[tokio::test]
async fn without_a_key_nothing_is_sent() {
    let client = ModelClient::new(&ModelEndpoint::default()).unwrap();

    let error = not_sent(client.call(call(&model(), LONG, LONG), |_| {}).await);

    assert_eq!(error.code, "missing_secret");
    assert!(error.fatal);
}

#[tokio::test]
async fn a_version_that_no_header_can_carry_is_never_sent() {
    let endpoint = Endpoint::new(vec![]).await;
    let mut model = model();
    model.api_version = "2023\n06".to_owned();

    let error = not_sent(endpoint.client().call(call(&model, LONG, LONG), |_| {}).await);

    assert_eq!(error.code, "model_request_invalid");
}

#[tokio::test]
async fn a_pause_is_told_with_the_error() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"},"request_id":"req_2"}"#;
    let endpoint = Endpoint::new(vec![answer(
        "429 Too Many Requests",
        "retry-after: 7\r\nrequest-id: req_2\r\n",
        body,
    )])
    .await;

    let attempt = endpoint.call().await;

    assert_eq!(attempt.evidence["http_status"], 429);
    assert_eq!(attempt.evidence["request_id"], "req_2");
    assert_eq!(attempt.evidence["rate_limits"], json!({"retry-after": "7"}));
    let (error, retry_after) = not_applied(attempt);
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::RateLimited, "model_rate_limited")
    );
    assert_eq!(
        error.message,
        "the model endpoint answered 429 (rate_limit_error): Slow down"
    );
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_date_to_wait_for_is_counted_from_the_answers_own_date_or_from_the_attempts_begin() {
    for headers in [
        "date: Fri, 20 Nov 1998 10:00:00 GMT\r\nretry-after: Fri, 20 Nov 1998 10:02:00 GMT\r\n",
        "retry-after: Fri, 20 Nov 1998 12:02:00 GMT\r\n",
    ] {
        let endpoint = Endpoint::new(vec![answer("529 Overloaded", headers, "")]).await;
        let (error, retry_after) = not_applied(endpoint.call().await);
        assert_eq!(error.class, ErrorClass::Overloaded);
        assert_eq!(retry_after, Some(Duration::from_secs(120)), "{headers}");
    }
}

#[tokio::test]
async fn a_spend_cap_calls_for_a_person() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Cap","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
    let endpoint = Endpoint::new(vec![answer("429 Too Many Requests", "", body)]).await;

    let attempt = endpoint.call().await;

    assert!(attempt.needs_person);
    assert_eq!(not_applied(attempt).0.code, messages::SPEND_CAP);
}

#[tokio::test]
async fn a_server_error_may_have_been_billed() {
    let endpoint = Endpoint::new(vec![answer("500 Internal Server Error", "", "<html>")]).await;

    let (error, _) = ambiguous(endpoint.call().await);

    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "http_500"));
}

#[tokio::test]
async fn an_error_within_a_stream_counts_as_billed_once_the_message_began() {
    let error_event = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let before = Endpoint::new(vec![write(STREAM_HEAD), write(error_event)]).await;
    let after = Endpoint::new(vec![write(STREAM_HEAD), write(START), write(error_event)]).await;

    let (early, _) = not_applied(before.call().await);
    let (late, evidence) = ambiguous(after.call().await);

    assert_eq!(early.class, ErrorClass::Overloaded);
    assert_eq!(late.class, ErrorClass::Overloaded);
    assert_eq!(evidence["partial_usage"]["output_tokens"], 1);
}

#[tokio::test]
async fn a_redirect_is_an_error_and_the_key_goes_nowhere_else() {
    let elsewhere = Endpoint::new(vec![answer("200 OK", "", WHOLE)]).await;
    let location = format!("location: http://{}/v1/messages\r\n", elsewhere.address);
    let endpoint = Endpoint::new(vec![answer("307 Temporary Redirect", &location, "")]).await;

    let (error, _) = not_applied(endpoint.call().await);

    assert_eq!(error.code, "http_redirect");
    assert!(error.fatal);
    let mut request = elsewhere.request;
    assert!(request.try_recv().is_err());
}

#[tokio::test]
async fn a_page_of_html_is_no_reply() {
    let endpoint = Endpoint::new(vec![answer(
        "200 OK",
        "content-type: text/html\r\n",
        "<html>Welcome</html>",
    )])
    .await;

    let (error, _) = ambiguous(endpoint.call().await);

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "model_reply_unreadable")
    );
}

#[tokio::test]
async fn a_stream_that_is_not_text_is_no_reply() {
    let endpoint = Endpoint::new(vec![write(STREAM_HEAD), write(START), write(b"data: \xff\xfe\n\n")]).await;

    let (error, evidence) = ambiguous(endpoint.call().await);

    assert_eq!(error.code, "model_reply_unreadable");
    assert_eq!(evidence["message_id"], "msg_1");
}

#[tokio::test]
async fn an_endless_line_is_not_read_to_its_end() {
    let endless = vec![b'x'; REPLY_BYTES_MAX + 1024 * 1024];
    let endpoint = Endpoint::new(vec![
        write(STREAM_HEAD),
        write(START),
        write(b"data: "),
        write(endless),
        Act::Silence,
    ])
    .await;

    let (error, _) = ambiguous(endpoint.call().await);

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "model_reply_too_large")
    );
}

#[tokio::test]
async fn lines_without_an_event_are_not_read_without_end() {
    let comment = format!(": {}\n", "still here ".repeat(100));
    let comments = comment.repeat(REPLY_BYTES_MAX / comment.len() + 1024);
    let endpoint = Endpoint::new(vec![write(STREAM_HEAD), write(START), write(comments), Act::Silence]).await;

    let (error, _) = ambiguous(endpoint.call().await);

    assert_eq!(error.code, "model_reply_too_large");
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    let endless = vec![b' '; REPLY_BYTES_MAX + 1024 * 1024];
    let endpoint = Endpoint::new(vec![write("HTTP/1.1 200 OK\r\n\r\n"), write(endless), Act::Silence]).await;

    let (error, _) = ambiguous(endpoint.call().await);

    assert_eq!(error.code, "model_reply_too_large");
}

#[tokio::test]
async fn an_endless_complaint_is_not_read_to_its_end() {
    let endless = vec![b' '; 1024 * 1024];
    let endpoint = Endpoint::new(vec![
        write("HTTP/1.1 404 Not Found\r\n\r\n"),
        write(endless),
        Act::Silence,
    ])
    .await;

    let (error, _) = not_applied(endpoint.call().await);

    assert_eq!(error.code, "model_not_found");
}

#[tokio::test]
async fn a_complaint_that_never_comes_does_not_hide_the_status() {
    let endpoint = Endpoint::new(vec![
        write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 9\r\n\r\n"),
        Act::Silence,
    ])
    .await;

    let (error, _) = not_applied(endpoint.client().call(call(&model(), LONG, SHORT), |_| {}).await);

    assert_eq!(error.code, "model_authentication");
}

#[tokio::test]
async fn a_key_that_the_endpoint_repeats_is_not_recorded() {
    let body = r#"{"type":"error","error":{"type":"authentication_error","message":"bad key sk-very-secret"}}"#;
    let endpoint = Endpoint::new(vec![answer("401 Unauthorized", "", body)]).await;

    let (error, _) = not_applied(endpoint.call().await);

    assert_eq!(
        error.message,
        "the model endpoint answered 401 (authentication_error): bad key [redacted]"
    );
}

#[test]
fn a_client_does_not_show_its_key() {
    assert!(!format!("{:?}", client("http://localhost")).contains("very-secret"));
}

#[test]
fn a_base_url_is_checked_when_the_client_is_built() {
    let build = |base_url: &str, key: &str| {
        ModelClient::new(&ModelEndpoint {
            base_url: base_url.to_owned(),
            api_key: Some(key.into()),
        })
    };
    assert!(build("https://proxy.example/anthropic/", "k\n").is_ok());
    for address in [
        "",
        "proxy.example",
        "ftp://proxy.example",
        "http://",
        "https://a:b@proxy.example",
    ] {
        assert!(
            matches!(build(address, "k"), Err(ModelClientError::BaseUrl)),
            "{address}"
        );
    }
    assert!(matches!(
        build("https://proxy.example", "a\nb"),
        Err(ModelClientError::ApiKey)
    ));
}

#[test]
fn a_call_can_be_awaited_from_a_spawned_task() {
    fn is_send<T: Send>(_: &T) {}
    let (client, model) = (client("http://localhost"), model());

    is_send(&client.call(call(&model, LONG, LONG), |_| {}));
}
