//! A caller's connection: requests come out of it, bytes go into it.
//!
//! Start at [`Caller::request`].

use anyhow::{Context, bail};
use std::io;
use std::net::TcpStream as Socket;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than any call of a storm has.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;

/// Somebody who has connected.
pub(super) struct Caller {
    stream: TcpStream,
    /// What was read and not yet understood.
    read: Vec<u8>,
}

/// What was asked, whole.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A header's value; `name` is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Caller {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        // Bytes that are sent apart shall arrive apart.
        stream.set_nodelay(true)?;
        let read = Vec::new();
        Ok(Self { stream, read })
    }

    /// The next request; none if the caller is gone, in the middle of one or not.
    pub(super) async fn request(&mut self) -> anyhow::Result<Option<Request>> {
        loop {
            if let Some((request, length)) = parse(&self.read)? {
                self.read.drain(..length);
                return Ok(Some(request));
            }
            if self.read.len() > REQUEST_BYTES_MAX {
                bail!("a request of more than {REQUEST_BYTES_MAX} bytes");
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error).context("a request cannot be read"),
            }
        }
    }

    /// Hands bytes to the network; false if the caller was gone before.
    pub(super) async fn hand_over(&mut self, bytes: &[u8]) -> bool {
        !self.is_gone() && self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits until the caller has hung up, but not longer than this.
    pub(super) async fn hung_up(&self, limit: Duration) {
        let hung_up = async {
            let mut byte = [0];
            if let Ok(1..) = self.stream.peek(&mut byte).await {
                // A caller that has more to ask is there.
                std::future::pending::<()>().await;
            }
        };
        // That it stays on is known, too, when the limit is over.
        let _ = tokio::time::timeout(limit, hung_up).await;
    }

    /// Ends the connection so that the other side sees it reset.
    pub(super) fn reset(self) {
        // If it is gone already, that is as good.
        let _ = self.stream.set_zero_linger();
    }

    /// The socket is asked, not the runtime, which may not have heard yet.
    fn is_gone(&self) -> bool {
        let Ok(socket) = self.stream.as_fd().try_clone_to_owned() else {
            return false;
        };
        match Socket::from(socket).peek(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// The first request in these bytes and its length, once all of it is there.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes).context("what came is no HTTP")? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_ascii_lowercase(), value)
        })
        .collect();
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
    };
    // Every client of a storm knows its body before it sends it.
    let length: usize = match request.header("content-length") {
        Some(length) => length.parse().context("a content-length that is no number")?,
        None => 0,
    };
    let Some(body) = head.checked_add(length).and_then(|end| bytes.get(head..end)) else {
        return Ok(None);
    };
    body.clone_into(&mut request.body);
    Ok(Some((request, head + length)))
}
