//! The HTTP door in this process, and a client of it that reads streams event by event.

use crate::world::PATIENCE;
use api::{Access, Api, ApiOptions, Limits};
use engine::{Connect, Engine};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the door asks for.
pub const TOKEN: &str = "test-token-not-secret";

/// Shown in `pg_stat_activity` for what the door does.
pub const APPLICATION: &str = "test api";

/// A door. Stops in good order at [`HttpDoor::stop`], or when dropped.
pub struct HttpDoor {
    /// Such as `http://127.0.0.1:40123`.
    pub url: String,
    client: reqwest::Client,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl HttpDoor {
    /// A door to this database for the default tenant, behind [`TOKEN`].
    pub async fn open(database_url: &str) -> Self {
        Self::open_with(database_url, |_| ()).await
    }

    /// The same with other options.
    pub async fn open_with(database_url: &str, change: impl FnOnce(&mut ApiOptions)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let connect = Connect::new(database_url, APPLICATION);
        let engine = Engine::connect(&connect).await.expect("the engine connects");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let mut options = ApiOptions::new(listen, Access::Token(TOKEN.to_owned().into()));
        options.limits = Limits {
            stop_grace: std::time::Duration::from_secs(5),
            ..Limits::default()
        };
        change(&mut options);
        let api = Api::bind(engine, connect, options).await.expect("the door listens");
        let url = format!("http://{}", api.address());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(api.run(shutdown.clone()));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self {
            url,
            client,
            shutdown,
            task,
        }
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.without_token(method, path).bearer_auth(TOKEN)
    }

    /// A request without it.
    pub fn without_token(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// What a GET answers.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        told(self.request(Method::GET, path)).await
    }

    /// What a POST of JSON answers.
    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        told(self.request(Method::POST, path).json(body)).await
    }

    /// Follows a run; `after` as browsers say it when they come back.
    pub async fn follow(&self, run: engine::RunId, after: Option<i32>) -> EventReader {
        let mut request = self.request(Method::GET, &format!("/v1/runs/{run}/events"));
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let response = request.send().await.expect("the door answers");
        assert_eq!(response.status(), StatusCode::OK, "the stream begins");
        EventReader::of(response)
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the door stops")
            .expect("the door's task does not break");
    }
}

/// What a request answers: JSON, or null where there is no body.
pub async fn told(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.expect("the door answers");
    let status = response.status();
    let text = response.text().await.expect("the answer is whole");
    if text.is_empty() {
        return (status, Value::Null);
    }
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (status, value)
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent {
    /// `id`, where it has one.
    pub id: Option<i32>,
    /// `event`.
    pub kind: String,
    /// `data`.
    pub data: Value,
}

/// Reads a stream event by event.
pub struct EventReader {
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: Vec<u8>,
}

impl EventReader {
    /// Of an answer whose body is a stream of events.
    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200, "a stream is answered with 200: {response:?}");
        let bytes = response.bytes_stream().map(|piece| piece.map(|bytes| bytes.to_vec()));
        Self {
            bytes: bytes.boxed(),
            text: Vec::new(),
        }
    }

    /// The next event. None: the stream has ended.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        tokio::time::timeout(PATIENCE, self.read())
            .await
            .expect("the stream goes on within the test's patience")
    }

    async fn read(&mut self) -> Option<StreamEvent> {
        loop {
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8(block).expect("a stream is UTF-8")) {
                    return Some(event);
                }
            }
            // A stream that is cut is one that has ended.
            self.text.extend(self.bytes.next().await?.ok()?);
        }
    }

    /// All events until the stream ends.
    pub async fn rest(mut self) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// None: a comment, or a field that is no event.
fn parse(block: &str) -> Option<StreamEvent> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(StreamEvent {
        id: field("id").map(|id| id.parse().expect("an id is a number")),
        kind: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).expect("data is JSON"),
    })
}
