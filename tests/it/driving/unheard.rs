//! A claim that is committed and whose answer is lost.

use super::{agent, answering};
use engine::Connect;
use longhaul_tests::world::World;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use worker::Worker;

/// In the text of the statement that claims runs, which a connection is told once, before it is executed.
const CLAIM: &[u8] = b"Takes due runs that this worker can drive";

/// Stands before the database. Swallows the answer to the first claim that takes a run, and cuts its connection.
async fn proxy(database: String) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let has_cut = Arc::new(AtomicBool::new(false));
    let cut = Arc::clone(&has_cut);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&database).await.expect("the database");
            tokio::spawn(pass_on(client, server, Arc::clone(&cut)));
        }
    });
    (port, has_cut)
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, has_cut: Arc<AtomicBool>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut claims = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(bytes @ 1..) => {
                    claims |= asked[..bytes].windows(CLAIM.len()).any(|part| part == CLAIM);
                    if server.write_all(&asked[..bytes]).await.is_err() {
                        return;
                    }
                }
                Ok(0) | Err(_) => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(bytes @ 1..) => {
                    // A row that tells of the run: its input is in it.
                    let has_run = answered[..bytes].windows(5).any(|part| part == b"hello");
                    if claims && has_run && !has_cut.swap(true, Ordering::SeqCst) {
                        return;
                    }
                    if client.write_all(&answered[..bytes]).await.is_err() {
                        return;
                    }
                }
                Ok(0) | Err(_) => return,
            },
        }
    }
}

#[tokio::test]
async fn a_run_whose_claim_was_never_heard_of_is_driven_all_the_same() {
    let world = World::new(answering()).await;
    world.apply(&agent("")).await;
    let database = PgConnectOptions::from_str(&world.database.url).expect("a URL");
    let address = format!("{}:{}", database.get_host(), database.get_port());
    let (port, has_cut) = proxy(address.clone()).await;
    let through = world.database.url.replace(&address, &format!("127.0.0.1:{port}"));
    let run = world.start("helper", &json!("hello")).await;

    let shutdown = CancellationToken::new();
    let connect = Connect::new(through, "test worker");
    let worker = Worker::builder(connect, world.config("worker A")).build();
    let working = tokio::spawn(worker.run(shutdown.clone()));

    let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;
    assert_eq!((ended.state.as_str(), ended.crashes), ("succeeded", 0));
    assert!(has_cut.load(Ordering::SeqCst), "an answer was lost");
    let events = world.events(run).await;
    assert_eq!(
        events[..4],
        ["run.started", "run.claimed", "run.released", "run.claimed"]
    );
    shutdown.cancel();
    working.await.expect("it ends").expect("in good order");
}
