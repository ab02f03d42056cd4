//! What the tests of the ledger share: a ledger, its callers, and what its records say.

use super::SEED;
use crate::ledger::behaviour::Asked;
use crate::ledger::book::Book;
use crate::ledger::take_in;
use crate::record::{Front, LedgerRecord, Log, Micros, read};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A ledger with real connections and a real file.
pub(super) struct World {
    address: SocketAddr,
    pub(super) folder: TempDir,
    pub(super) book: Arc<Book>,
    pub(super) keeper: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(&folder.path().join("ledger.jsonl")).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (book, keeper) = Book::open(SEED, log);
        let taking = Arc::clone(&book);
        tokio::spawn(async move { take_in(&listener, &taking).await });
        Self {
            address,
            folder,
            book,
            keeper,
        }
    }

    /// What is on the disk so far.
    pub(super) fn so_far(&self) -> Vec<LedgerRecord> {
        read(&self.folder.path().join("ledger.jsonl")).unwrap()
    }

    pub(super) async fn until(&self, what: &str, seen: impl Fn(&LedgerRecord) -> bool) {
        let waiting = async {
            while !self.so_far().iter().any(&seen) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.so_far());
    }

    /// All records, by arrival, once the reply to the last arrival was written.
    pub(super) async fn account(&self, arrivals: u64) -> BTreeMap<u64, Account> {
        for wanted in 1..=arrivals {
            let told =
                |record: &LedgerRecord| matches!(record, LedgerRecord::Reply { arrival, .. } if *arrival == wanted);
            self.until("a reply", told).await;
        }
        accounts(self.so_far())
    }

    pub(super) async fn caller(&self) -> Caller {
        Caller(TcpStream::connect(self.address).await.unwrap())
    }

    /// The account of a single call and what its caller got.
    pub(super) async fn one(&self, asked: &Asked) -> (Account, Heard) {
        let mut caller = self.caller().await;
        caller.ask(asked, "key").await;
        let heard = caller.hear().await;
        drop(caller);
        let account = self.account(1).await.remove(&1).unwrap();
        assert_eq!(account.effect, asked.effect);
        (account, heard)
    }
}

/// What the records say of an arrival.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) at: Micros,
    pub(super) effect: String,
    pub(super) conduct: String,
    pub(super) worker: Option<String>,
    pub(super) attempt: Option<u32>,
    pub(super) applied: Option<Micros>,
    pub(super) what: String,
    pub(super) delivered: bool,
}

impl Account {
    pub(super) fn ended(&self) -> (bool, &str, bool) {
        (self.applied.is_some(), self.what.as_str(), self.delivered)
    }
}

pub(super) fn accounts(records: Vec<LedgerRecord>) -> BTreeMap<u64, Account> {
    let mut accounts: BTreeMap<u64, Account> = BTreeMap::new();
    for record in records {
        match record {
            LedgerRecord::Arrival {
                at,
                arrival,
                effect,
                conduct,
                worker,
                attempt,
                ..
            } => {
                let account = Account {
                    at,
                    effect,
                    conduct,
                    worker,
                    attempt,
                    ..Account::default()
                };
                assert!(accounts.insert(arrival, account).is_none(), "{arrival} came twice");
                assert_eq!(
                    arrival,
                    accounts.len() as u64,
                    "numbers are dense, in the order of writing"
                );
            }
            LedgerRecord::Applied { at, arrival } => {
                let account = accounts.get_mut(&arrival).unwrap();
                assert_eq!(account.applied.replace(at), None);
            }
            LedgerRecord::Reply {
                arrival,
                what,
                delivered,
                ..
            } => {
                let account = accounts.get_mut(&arrival).unwrap();
                account.what = what;
                account.delivered = delivered;
            }
            LedgerRecord::Looked { .. } => {}
        }
    }
    accounts
}

pub(super) struct Caller(pub(super) TcpStream);

/// Everything that came, until the connection ended or a reply was whole and nothing more was there.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) end: End,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A whole reply, on a connection that stays.
    Reply,
    Closed,
    Reset,
}

impl Caller {
    pub(super) async fn ask(&mut self, asked: &Asked, key: &str) {
        self.send(asked.front, &serde_json::to_string(asked).unwrap(), key)
            .await;
    }

    pub(super) async fn send(&mut self, front: Front, body: &str, key: &str) {
        let (front, length) = (front.as_str(), body.len());
        let request = format!(
            "POST /{front} HTTP/1.1\r\nhost: ledger\r\nContent-Length: {length}\r\nIdempotency-Key: {key}\r\n\
             longhaul-run: run-1\r\nlonghaul-attempt: 3\r\nlonghaul-worker: storm-1-2\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// Asks what became of a key.
    pub(super) async fn look(&mut self, key: &str) {
        let body = format!(r#"{{"key":"{key}"}}"#);
        let length = body.len();
        let request = format!("POST /look HTTP/1.1\r\nhost: ledger\r\ncontent-length: {length}\r\n\r\n{body}");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    pub(super) async fn hear(&mut self) -> Heard {
        let mut bytes = Vec::new();
        loop {
            if whole(&bytes) == Some(bytes.len()) {
                return Heard { bytes, end: End::Reply };
            }
            match self.0.read_buf(&mut bytes).await {
                Ok(0) => {
                    return Heard {
                        bytes,
                        end: End::Closed,
                    };
                }
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    return Heard { bytes, end: End::Reset };
                }
            }
        }
    }
}

impl Heard {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(super) fn status(&self) -> u16 {
        self.text().split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn body(&self) -> &str {
        self.text().split_once("\r\n\r\n").unwrap().1
    }

    pub(super) fn receipt(&self) -> u64 {
        let body: Value = serde_json::from_str(self.body()).unwrap();
        body["receipt"].as_u64().unwrap()
    }
}

/// The length of the first reply, once its head is there.
pub(super) fn whole(bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    Some(head.len() + 4 + length.unwrap().parse::<usize>().unwrap())
}
