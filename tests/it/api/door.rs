//! What stands around every route.

use super::{refused, world};
use api::Access;
use longhaul_tests::database::PrivateServer;
use longhaul_tests::http_door::{HttpDoor, TOKEN, told};
use longhaul_tests::world::PATIENCE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn without_the_token_nobody_gets_in() {
    let (_world, door) = world().await;
    for authorization in [
        None,
        Some("Bearer wrong"),
        Some("Bearer "),
        Some("Basic dGVzdA=="),
        Some(TOKEN),
    ] {
        let mut request = door.without_token(Method::GET, "/v1/runs");
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 401, "{authorization:?}");
        assert!(
            response.headers()["www-authenticate"]
                .to_str()
                .expect("text")
                .starts_with("Bearer")
        );
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body: Value = response.json().await.expect("a problem");
        refused(&(StatusCode::UNAUTHORIZED, body), 401, "unauthorized");
    }
    refused(
        &told(door.without_token(Method::GET, "/v1/nothing")).await,
        401,
        "unauthorized",
    );
    let shouted = door
        .without_token(Method::GET, "/v1/runs")
        .header("Authorization", format!("bearer {TOKEN}"));
    assert_eq!(told(shouted).await.0, 200, "the scheme's case does not matter");
}

#[tokio::test]
async fn what_is_not_there_is_told_as_a_problem() {
    let (_world, door) = world().await;

    refused(&door.get("/v1/walks").await, 404, "no_such_route");
    refused(&door.get("/nothing").await, 404, "no_such_route");
    let response = door
        .request(Method::DELETE, "/v1/runs")
        .send()
        .await
        .expect("an answer");
    let allowed = response.headers()["allow"].to_str().expect("text").to_owned();
    refused(
        &(response.status(), response.json().await.expect("a problem")),
        405,
        "method_not_allowed",
    );
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
}

#[tokio::test]
async fn every_answer_has_an_id_and_safe_headers() {
    let (_world, door) = world().await;

    let own = door
        .request(Method::GET, "/v1/runs")
        .header("x-request-id", "order-17")
        .send()
        .await
        .expect("an answer");
    let odd = door
        .request(Method::GET, "/v1/runs")
        .header("x-request-id", "a b")
        .send()
        .await
        .expect("an answer");
    let none = door
        .without_token(Method::GET, "/nothing")
        .send()
        .await
        .expect("an answer");

    assert_eq!(own.headers()["x-request-id"], "order-17");
    assert_ne!(odd.headers()["x-request-id"], "a b");
    for response in [own, odd, none] {
        assert!(!response.headers()["x-request-id"].is_empty());
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["x-frame-options"], "DENY");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn health_and_pages_are_open_and_load_nothing_from_elsewhere() {
    let (_world, door) = world().await;
    let page = async |path: &str| {
        let response = door.without_token(Method::GET, path).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.expect("text")
    };

    assert!(page("/healthz").await.contains("ok"));
    assert!(page("/readyz").await.contains("ok"));
    let document: Value = serde_json::from_str(&page("/openapi.json").await).expect("JSON");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
    assert_eq!(document["info"]["title"], "Longhaul");
    for path in [
        "/docs",
        "/docs/errors",
        "/docs/errors/bad_cursor",
        "/docs/errors/usage",
        "/docs/errors/steps",
        "/",
    ] {
        let html = page(path).await;
        assert!(
            !html.contains("<script") && !html.contains("src=") && !html.contains("http://"),
            "{path}"
        );
    }
    let reference = page("/docs").await;
    for path in document["paths"].as_object().expect("paths").keys() {
        assert!(reference.contains(path.as_str()), "the page tells of {path}");
    }
    let place = |part: &str| reference.find(part).unwrap_or_else(|| panic!("the page has no {part}"));
    assert!(
        place("Authorization: Bearer") < place("<nav>"),
        "how to get in comes first"
    );
    assert!(place("GET /v1/runs<") < place("GET /v1/agents<") && place("GET /v1/agents<") < place("GET /healthz<"));
    place("<a href=\"/docs/errors/no_such_agent\"><code>no_such_agent</code></a>");
    place("initial-scale=1");
    refused(
        &told(door.without_token(Method::GET, "/docs/errors/nonsense")).await,
        404,
        "no_such_route",
    );
}

#[tokio::test]
async fn pages_of_other_sites_are_kept_out() {
    let (world, door) = world().await;
    let open = HttpDoor::open_with(&world.database.url, |options| options.access = Access::AllowAnyone).await;
    let ask = |name: &'static str, value: &str| told(open.without_token(Method::GET, "/v1/runs").header(name, value));

    refused(&ask("Origin", "https://evil.example").await, 403, "cross_site_request");
    refused(&ask("Origin", "null").await, 403, "cross_site_request");
    refused(&ask("Sec-Fetch-Site", "cross-site").await, 403, "cross_site_request");
    refused(&ask("Sec-Fetch-Site", "same-site").await, 403, "cross_site_request");
    refused(&ask("Host", "evil.example").await, 403, "wrong_host");
    assert_eq!(ask("Origin", &open.url).await.0, 200);
    assert_eq!(ask("Sec-Fetch-Site", "none").await.0, 200);
    assert_eq!(ask("Host", "localhost:80").await.0, 200);
    let crossed = door
        .request(Method::GET, "/v1/runs")
        .header("Origin", "https://evil.example");
    refused(&told(crossed).await, 403, "cross_site_request");
}

#[tokio::test]
async fn bodies_are_bounded_and_of_the_right_type() {
    let (_world, door) = world().await;
    let run = super::start(&door).await;
    let path = format!("/v1/runs/{run}/pause");

    let large = told(
        door.request(Method::POST, &path)
            .json(&json!({"reason": "x".repeat(3 * 1024 * 1024)})),
    )
    .await;
    let plain = told(door.request(Method::POST, &path).body("{\"reason\": \"none\"}")).await;
    let broken = door
        .request(Method::POST, &path)
        .header("Content-Type", "application/json")
        .body(vec![0xff, 0xfe]);
    let pieces = futures_util::stream::iter((0..3 * 1024).map(|_| std::io::Result::Ok(vec![b' '; 1024])));
    let endless = door
        .request(Method::POST, &path)
        .header("Content-Type", "application/json")
        .body(reqwest::Body::wrap_stream(pieces));

    refused(&large, 413, "body_too_large");
    refused(&plain, 415, "unsupported_media_type");
    let packed = door
        .request(Method::POST, &path)
        .header("Content-Type", "application/json")
        .header("Content-Encoding", "gzip")
        .body(vec![0x1f, 0x8b, 8, 0]);
    refused(&told(packed).await, 415, "unsupported_media_type");
    refused(&told(broken).await, 400, "malformed_json");
    refused(&told(endless).await, 413, "body_too_large");
    assert_eq!(door.get(&format!("/v1/runs/{run}")).await.1["paused"], Value::Null);
}

#[tokio::test]
async fn connections_are_bounded_and_slow_heads_are_not_waited_for() {
    let (world, _) = world().await;
    let door = HttpDoor::open_with(&world.database.url, |options| options.limits.connections_max = 1).await;
    let address = door.url.trim_start_matches("http://").to_owned();
    let mut first = TcpStream::connect(&address).await.expect("a connection");
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");

    let mut second = TcpStream::connect(&address).await.expect("a place in the queue");
    second
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let waiting = tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
    assert!(waiting.is_err(), "the second waits");
    drop(first);

    second.read_exact(&mut answer).await.expect("its turn");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_head_that_is_not_whole() {
    let (world, _) = world().await;
    let grace = Duration::from_secs(60);
    let door = HttpDoor::open_with(&world.database.url, |options| options.limits.stop_grace = grace).await;
    let address = door.url.trim_start_matches("http://").to_owned();
    let mut fresh = TcpStream::connect(&address).await.expect("a connection");
    fresh.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.expect("sent");
    let mut used = TcpStream::connect(&address).await.expect("a connection");
    used.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he")
        .await
        .expect("sent");
    let mut answer = [0; 12];
    used.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");

    let stopping = tokio::time::timeout(Duration::from_secs(10), door.stop()).await;

    assert!(stopping.is_ok(), "it stops long before its grace is over");
}

#[tokio::test]
async fn a_stop_waits_for_a_body_that_is_on_its_way() {
    let (_world, door) = world().await;
    let run = super::start(&door).await;
    let address = door.url.trim_start_matches("http://").to_owned();
    let mut sender = TcpStream::connect(&address).await.expect("a connection");
    let head = format!(
        "POST /v1/runs/{run}/pause HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    );
    sender.write_all(head.as_bytes()).await.expect("sent");
    let mut invited = [0; 25];
    sender.read_exact(&mut invited).await.expect("the body is waited for");
    assert_eq!(&invited, b"HTTP/1.1 100 Continue\r\n\r\n");
    sender.write_all(b"{").await.expect("sent");

    let stopping = tokio::spawn(door.stop());
    let closed = async { while TcpStream::connect(&address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, closed)
        .await
        .expect("it takes nobody new");
    sender.write_all(b"}").await.expect("sent");
    let mut answer = [0; 12];
    sender.read_exact(&mut answer).await.expect("an answer");

    assert_eq!(&answer, b"HTTP/1.1 200");
    stopping.await.expect("it stops");
}

#[tokio::test]
async fn json_answers_end_their_line_and_tell_their_length() {
    let (_world, door) = world().await;
    for path in [
        "/healthz",
        "/openapi.json",
        "/v1/agents",
        "/v1/agents/greeter",
        "/v1/nothing",
    ] {
        let response = door.request(Method::GET, path).send().await.expect("an answer");
        let length = response.headers()["content-length"].to_str().expect("text").to_owned();
        let text = response.text().await.expect("text");
        assert!(text.ends_with("}\n"), "{path}: {text}");
        assert_eq!(length, text.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (_world, door) = world().await;
    let ask = |bytes: usize| {
        door.request(Method::GET, "/v1/runs")
            .header("x-long", "x".repeat(bytes))
    };

    refused(&told(ask(40 * 1024)).await, 431, "headers_too_large");
    let huge = ask(1024 * 1024).send().await;

    assert!(huge.is_err() || huge.is_ok_and(|response| response.status() == 431));
    assert_eq!(door.get("/v1/runs").await.0, 200, "others are served on");
}

#[tokio::test]
async fn while_the_database_is_away_callers_are_asked_to_come_back() {
    let server = PrivateServer::start().await;
    let door = HttpDoor::open(server.url()).await;
    assert_eq!(door.get("/v1/runs").await.0, 200);
    server.stop().await;

    let response = door.request(Method::GET, "/v1/runs").send().await.expect("an answer");
    assert_eq!(response.headers()["retry-after"], "1");
    refused(
        &(response.status(), response.json().await.expect("a problem")),
        503,
        "database_unavailable",
    );
    assert_eq!(told(door.without_token(Method::GET, "/readyz")).await.0, 503);
    assert_eq!(told(door.without_token(Method::GET, "/healthz")).await.0, 200);
    server.restart().await;

    let back = async {
        while door.get("/v1/runs").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("it answers again");
}
