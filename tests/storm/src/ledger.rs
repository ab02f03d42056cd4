//! The world outside: effects take place here, and are written down before anybody is told.
//!
//! It is a process of its own and never a victim. It behaves badly by a plan of its own seed, and what it has set out
//! to do it does, whether or not its caller is still there. It speaks HTTP by itself, since no framework resets a
//! connection in the middle of an answer. Start at [`serve`]; how an arrival is treated is in [`behaviour`], what was
//! done is in [`book`], and [`door`] is where callers come in.

pub(crate) mod behaviour;
mod book;
mod door;
mod reply;
mod request;

use crate::orders::orders;
use crate::record::Log;
use anyhow::Context;
use book::Book;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// After this long it is tried again to take a caller in; what fails here is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where `ledger.jsonl` is written
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// Decides how it behaves; the product never learns it
    #[arg(long)]
    pub(crate) seed: u64,
}

/// Serves until standard input ends.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let log = Log::open(&options.folder.join("ledger.jsonl"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("the ledger found no port")?;
    let (book, mut keeper) = Book::open(options.seed, log);
    println!("http://{}", listener.local_addr()?);

    let mut orders = orders();
    tokio::select! {
        // There are none: it is the end that is waited for.
        () = async { while orders.recv().await.is_some() {} } => {}
        kept = &mut keeper => return kept?.context("the ledger cannot be kept"),
        () = take_in(&listener, &book) => {}
    }
    book.close();
    keeper.await?.context("the ledger cannot be kept")
}

/// Each caller gets a task that nothing stops: what was begun for a caller is done after they are gone, too.
async fn take_in(listener: &TcpListener, book: &Arc<Book>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let book = Arc::clone(book);
                tokio::spawn(async move {
                    if let Err(error) = door::attend(stream, &book).await {
                        eprintln!("ledger: a caller left: {error:#}");
                    }
                });
            }
            Err(error) => {
                eprintln!("ledger: nobody can be taken in: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
