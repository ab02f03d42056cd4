//! An endpoint that writes canned bytes.

use super::BODY;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What an endpoint does once it has read a request.
#[derive(Clone)]
pub(super) enum Act {
    Write(Vec<u8>),
    /// Each piece after that pause.
    Drip(Vec<Vec<u8>>, Duration),
    /// Nothing more, until the caller goes away.
    Silence,
    /// Closes with a reset.
    Reset,
}

pub(super) fn write(text: impl AsRef<[u8]>) -> Act {
    Act::Write(text.as_ref().to_vec())
}

/// An endpoint that serves one connection.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) request: oneshot::Receiver<String>,
    pub(super) caller_left: oneshot::Receiver<()>,
}

impl Endpoint {
    pub(super) async fn new(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (request_sent, request) = oneshot::channel();
        let (left, caller_left) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = request_sent.send(read_request(&mut stream).await);
            perform(&mut stream, acts).await;
            let _ = left.send(());
        });
        Self {
            address,
            request,
            caller_left,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if read == 0 || text.ends_with(BODY) {
            return text.into_owned();
        }
    }
}

pub(super) async fn perform(stream: &mut TcpStream, acts: Vec<Act>) {
    for act in acts {
        match act {
            // The caller may hang up in the middle of what is too much for it.
            Act::Write(bytes) => drop(stream.write_all(&bytes).await),
            Act::Drip(pieces, pause) => {
                for piece in pieces {
                    tokio::time::sleep(pause).await;
                    stream.write_all(&piece).await.unwrap();
                }
            }
            Act::Silence => while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {},
            Act::Reset => stream.set_zero_linger().unwrap(),
        }
    }
}

pub(super) fn answer(status: &str, headers: &str, body: &str) -> Act {
    write(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    ))
}
