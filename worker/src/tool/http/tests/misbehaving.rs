//! Targets that answer in every way but a good one.

use crate::tool::scene::{BRIEF, Scene, Server, Then, read_request};
use agent::ErrorClass;
use agent::tool::OUTPUT_BYTES_MAX;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// One MB of zeros, packed by gzip.
fn bomb() -> Vec<u8> {
    let mut bytes = vec![
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x82, 0x20, 0xff, 0xaf, 0x6e, 0x48, 0x40, 1,
    ];
    bytes.resize(1_003, 0);
    bytes
}

/// A server that writes this again and again, until the client goes away.
async fn without_end(head: &'static str, again: &'static str, pause: Duration) -> Server {
    Server::serving(move |mut stream| async move {
        let request = read_request(&mut stream).await;
        let _ = stream.write_all(head.as_bytes()).await;
        // Without a pause in large pieces, which come faster.
        let again = again.repeat(if pause.is_zero() { 1_000 } else { 1 });
        while stream.write_all(again.as_bytes()).await.is_ok() {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        request
    })
    .await
}

#[tokio::test]
async fn a_reply_whose_head_nobody_can_read_is_ambiguous() {
    let many: String = (0..1_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1024 * 1024));
    for reply in [
        format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{long}content-length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 {}\r\n\r\n", "y".repeat(1024 * 1024)),
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n".to_owned(),
        "HTTP/9.9 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 20 OK\r\n\r\n".to_owned(),
        "\0\0\0\0\0\0\0\0".to_owned(),
    ] {
        let begin = reply.chars().take(60).collect::<String>();
        let server = Server::answering(reply, Then::StayOpen).await;

        let (error, _) = Scene::http(&server.url).call().await.ambiguous();

        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Transient, "connection_lost"),
            "{begin}: {}",
            error.message
        );
    }
}

#[tokio::test]
async fn a_head_without_end_is_read_only_so_far() {
    let server = without_end("HTTP/1.1 200 OK\r\n", "x-more: and more and more\r\n", Duration::ZERO).await;

    let (error, _) = Scene::http(&server.url).call().await.ambiguous();

    assert_eq!(error.code, "connection_lost");
}

#[tokio::test]
async fn a_body_in_broken_pieces_is_a_reply_that_was_cut() {
    for body in [
        "zz\r\n".to_owned(),
        "ffffffffffffffffff\r\n".to_owned(),
        "3\r\nabcdef\r\n".to_owned(),
        format!("3;{}\r\n", "y".repeat(1024 * 1024)),
    ] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
        let server = Server::answering(format!("{head}{body}"), Then::StayOpen).await;

        let (error, _) = Scene::http(&server.url).call().await.ambiguous();

        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Transient, "reply_cut"),
            "{}",
            error.message
        );
    }
}

#[tokio::test]
async fn a_reply_that_drips_ends_with_the_calls_time() {
    let drip = Duration::from_millis(5);
    for (head, again) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\nx: ", "y"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        // Interim replies, as many as it likes.
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let server = without_end(head, again, drip).await;

        let (error, _) = Scene::http(&server.url).within(BRIEF).call().await.ambiguous();

        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Timeout, "tool_timeout"),
            "{head}{again}"
        );
    }
}

#[tokio::test]
async fn a_hundred_megabytes_are_read_only_so_far_whatever_was_announced() {
    const MORE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for (head, told) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n",
            " of 104857600 bytes shown]",
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", " of more than 1048576 bytes shown]"),
    ] {
        let server = without_end(head, MORE, Duration::ZERO).await;

        let attempt = Scene::http(&server.url).call().await;

        assert_eq!(attempt.evidence["reply"], "capped");
        let output = attempt.done();
        assert!(output.content.len() <= OUTPUT_BYTES_MAX);
        assert!(output.content.ends_with(told), "{:?}", output.notes);
    }
}

#[tokio::test]
async fn a_body_that_is_no_text_is_told_of_and_not_shown() {
    let mut reply = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 2560\r\n\r\n".to_vec();
    reply.extend((0..=255).cycle().take(2_560));
    let server = Server::answering(reply, Then::Close).await;

    let attempt = Scene::http(&server.url).call().await;

    assert_eq!(attempt.evidence["content_type"], "image/png");
    assert_eq!(
        attempt.done().content,
        "[not shown: 2560 bytes that are not text (image/png)]"
    );
}

#[tokio::test]
async fn a_packed_body_is_never_unpacked() {
    for (headers, told) in [
        ("content-encoding: gzip\r\n", "packed as gzip"),
        (
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
            "application/json, packed as gzip",
        ),
        ("content-encoding: gzip, gzip, br\r\n", "packed as gzip, gzip, br"),
    ] {
        let mut reply = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 1003\r\n\r\n").into_bytes();
        reply.extend(bomb());
        let server = Server::answering(reply, Then::Close).await;

        let attempt = Scene::http(&server.url).call().await;

        assert_eq!(attempt.evidence["bytes"], 1_003);
        assert_eq!(
            attempt.done().content,
            format!("[not shown: 1003 bytes that are not text ({told})]")
        );
        assert!(
            !server.request().await.contains("accept-encoding"),
            "nobody asked for it"
        );
    }
}

#[tokio::test]
async fn json_that_is_none_is_shown_as_it_came_and_noted() {
    for (kind, body, is_noted) in [
        ("application/json", r#"{"ok":tru"#, true),
        ("application/json; charset=utf-8", "<html>log in first</html>", true),
        ("application/problem+json", "{} {}", true),
        ("application/json", "", true),
        ("application/json", r#"{"ok":true}"#, false),
        ("application/json", &("[".repeat(1_000) + &"]".repeat(1_000)), false),
        ("text/html", "<html>", false),
        ("image/png", r#"{"ok":true}"#, false),
    ] {
        let server = Server::with_status("200 OK", &format!("content-type: {kind}\r\n"), body).await;

        let output = Scene::http(&server.url).call().await.done();

        assert_eq!(output.content, body);
        assert_eq!(
            output.notes.len(),
            usize::from(is_noted),
            "{kind} {body}: {:?}",
            output.notes
        );
    }
}

#[tokio::test]
async fn a_long_header_does_not_swell_the_evidence() {
    let long = "y".repeat(100_000);
    let headers = format!("x-request-id: {long}\r\ncontent-type: {long}\r\nlocation: {long}\r\n");
    for status in ["200 OK", "302 Found", "500 Internal Server Error"] {
        let server = Server::with_status(status, &headers, "").await;

        let attempt = Scene::http(&server.url).call().await;

        assert!(format!("{attempt:?}").len() < 8 * 1024, "{status}");
    }
}

#[tokio::test]
async fn a_refusal_with_a_body_without_end_is_still_a_refusal() {
    for pause in [Duration::ZERO, Duration::from_millis(5)] {
        let server = without_end("HTTP/1.1 422 No\r\n\r\n", "no and no and no ", pause).await;

        let (error, _) = Scene::http(&server.url).within(BRIEF).call().await.not_applied();

        assert_eq!(error.code, "http_422");
        assert!(error.message.len() < 4 * 1024);
    }
}
