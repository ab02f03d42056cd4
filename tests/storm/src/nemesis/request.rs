//! A call on its way to the ledger.

use uuid::Uuid;

/// A call's own headers are few; the connection's are fewer.
const HEADERS_MAX: usize = 64;

/// What is to be known of a request that has come whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) worker: Option<String>,
    pub(super) run: Option<Uuid>,
}

impl Request {
    /// None: more is to come.
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(bytes)? else {
            return Ok(None);
        };
        let mut request = Self::default();
        let mut body = 0;
        for header in head.headers.iter() {
            let value = String::from_utf8_lossy(header.value);
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" => body = value.trim().parse()?,
                "longhaul-worker" => request.worker = Some(value.into_owned()),
                "longhaul-run" => request.run = Uuid::parse_str(&value).ok(),
                _ => {}
            }
        }
        Ok((bytes.len() >= length + body).then_some(request))
    }

    /// Whether this worker asks. A program that its predecessor left behind may still be asking.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.worker.as_deref().is_none_or(|worker| worker == name)
    }
}

/// Whether a good answer begins here: what was asked for has been done.
pub(super) fn is_good(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 2")
}

#[cfg(test)]
mod tests;
