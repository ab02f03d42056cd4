//! The command front of the ledger: one request, and an end as the ledger says.
//!
//! It is started thousands of times, so it needs no runtime, and opens one plain connection.

use crate::ledger::behaviour::{Then, Told};
use anyhow::Context;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

/// Declared as "nothing was done".
const NOT_APPLIED: u8 = 10;
/// Declared as "may pass", and nothing is said of what was done.
const TRANSIENT: u8 = 75;

/// Longer than any tool's limit, and short enough that nobody is left over when its worker was killed.
const OVERLONG: Duration = Duration::from_secs(6);

const HEADERS_MAX: usize = 16;

/// What the worker sets, and the header that carries it.
const PASSED_ON: [(&str, &str); 5] = [
    ("LONGHAUL_IDEMPOTENCY_KEY", "idempotency-key"),
    ("LONGHAUL_RUN", "longhaul-run"),
    ("LONGHAUL_STEP", "longhaul-step"),
    ("LONGHAUL_ATTEMPT", "longhaul-attempt"),
    ("LONGHAUL_WORKER", "longhaul-worker"),
];

/// Tells the ledger what stands on standard input.
pub(crate) fn note() -> anyhow::Result<ExitCode> {
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body)?;
    // A worker that dies while it writes leaves less than an input; who cannot read what to do does nothing.
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&body) {
        eprintln!("this is no input: {error}");
        return Ok(ExitCode::from(NOT_APPLIED));
    }
    let url = std::env::var("LEDGER_URL").context("LEDGER_URL is not set")?;
    let authority = url
        .strip_prefix("http://")
        .context("LEDGER_URL is not http://HOST:PORT")?;
    let authority = authority.trim_end_matches('/');

    let stream = match TcpStream::connect(authority) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            eprintln!("the ledger refused the connection");
            return Ok(ExitCode::from(NOT_APPLIED));
        }
        Err(error) => return Ok(in_doubt(&error.into())),
    };
    match ask(stream, authority, &body) {
        Ok(told) => end(&told),
        Err(error) => Ok(in_doubt(&error)),
    }
}

/// Whether it was done, nobody knows; to try again may help.
fn in_doubt(error: &anyhow::Error) -> ExitCode {
    eprintln!("the ledger gave no answer: {error:#}");
    ExitCode::from(TRANSIENT)
}

fn ask(mut stream: TcpStream, authority: &str, body: &[u8]) -> anyhow::Result<Told> {
    stream.set_read_timeout(Some(OVERLONG))?;
    let length = body.len();
    let mut request = format!("POST /command HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {length}\r\n");
    for (variable, header) in PASSED_ON {
        if let Ok(value) = std::env::var(variable) {
            request.push_str(&format!("{header}: {value}\r\n"));
        }
    }
    request.push_str("\r\n");
    // In one piece, so that the ledger has all of it or nothing.
    stream.write_all(&[request.as_bytes(), body].concat())?;

    let mut reply = Vec::new();
    let mut block = [0; 1024];
    loop {
        if let Some((status, body)) = parse(&reply)? {
            anyhow::ensure!(status == 200, "it answered {status}");
            return Ok(serde_json::from_slice(body)?);
        }
        let read = stream.read(&mut block)?;
        anyhow::ensure!(read > 0, "its answer broke off after {} bytes", reply.len());
        reply.extend_from_slice(&block[..read]);
    }
}

/// Status and body, once all of it is there.
fn parse(reply: &[u8]) -> anyhow::Result<Option<(u16, &[u8])>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(reply)? else {
        return Ok(None);
    };
    let length = parsed
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .context("its answer has no length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    let status = parsed.code.unwrap_or_default();
    Ok(reply.get(head..head + length).map(|body| (status, body)))
}

fn end(told: &Told) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    match told.then {
        Then::Well => stdout.write_all(told.result.as_bytes())?,
        Then::Garbage => stdout.write_all(&[told.result.as_bytes(), b"\n\xff\xfe\x00\xc3\x28"].concat())?,
        Then::Exit { code } => {
            eprintln!("the ledger wants exit code {code}");
            return Ok(ExitCode::from(code));
        }
        Then::Kill => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?,
        Then::Hang => {
            std::thread::sleep(OVERLONG);
            return Ok(ExitCode::from(TRANSIENT));
        }
        // These are for functions.
        Then::Transient | Then::NotApplied | Then::Panic => anyhow::bail!("a program cannot end like this"),
    }
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}
