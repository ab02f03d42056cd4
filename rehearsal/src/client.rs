//! A small HTTP/1.1 client for the tests, which also sees how a connection ended.

use std::collections::HashMap;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
    /// Whether the body came to its proper end.
    pub(crate) is_whole: bool,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The events of a stream: name and data.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let frames = self.body.split("\n\n").filter(|frame| !frame.trim().is_empty());
        frames
            .map(|frame| {
                let (mut name, mut data) = (String::new(), Vec::new());
                for line in frame.lines() {
                    match line.split_once(": ").unwrap() {
                        ("event", value) => name = value.to_owned(),
                        ("data", value) => data.push(value),
                        (field, _) => panic!("unknown field {field} in {frame}"),
                    }
                }
                (name, serde_json::from_str(&data.join("\n")).unwrap())
            })
            .collect()
    }
}

/// A `POST` of JSON.
pub(crate) async fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut stream = send(url, headers, body).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    read(&bytes)
}

/// A `POST` whose answer nobody waits for yet.
pub(crate) async fn send(url: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
    write("POST", url, (headers, body)).await
}

/// A `GET`.
pub(crate) async fn get(url: &str) -> Reply {
    let mut stream = write("GET", url, (&[], "")).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    read(&bytes)
}

async fn write(method: &str, url: &str, (headers, body): (&[(&str, &str)], &str)) -> TcpStream {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut head = format!("{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    head.push_str(&format!(
        "content-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    ));
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
    stream
}

/// Head, headers and body of a whole connection.
pub(crate) fn read(bytes: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(bytes);
    let (head, rest) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if headers
        .get("transfer-encoding")
        .is_some_and(|encoding| encoding == "chunked")
    {
        let (body, is_whole) = dechunk(rest);
        return Reply {
            status,
            headers,
            body,
            is_whole,
        };
    }
    let length: usize = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    Reply {
        status,
        headers,
        body: rest.to_owned(),
        is_whole: rest.len() == length,
    }
}

fn dechunk(mut rest: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        body.push_str(&tail[..size]);
        rest = tail[size..].strip_prefix("\r\n").unwrap();
    }
    (body, false)
}
