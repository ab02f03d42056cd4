//! W2: from a start to the first step's first instruction, to its record and to the run's end, on a system that does
//! nothing else.

use crate::dbos_peer::Ground;
use crate::steps::Setting;
use anyhow::Context;
use dbos::{DBOS, WorkflowRef};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Between two runs the system comes to rest.
const PAUSE: Duration = Duration::from_millis(10);
/// Runs that do not count.
const FIRST: usize = 10;
/// A run that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of each run, ascending.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) starts: Vec<Duration>,
    pub(crate) records: Vec<Duration>,
    pub(crate) ends: Vec<Duration>,
}

pub(crate) async fn times(ground: &Ground, window: Duration) -> anyhow::Result<Times> {
    ground.clear().await?;
    let (noting, mut noted) = mpsc::unbounded_channel();
    let peer = ground.peer(Setting::ALONE.connections);
    let workflow = register(&peer, noting)?;
    peer.launch().await?;
    let measured = measure(&workflow, &mut noted, window).await;
    peer.shutdown().await;
    let mut times = measured?;
    for times in [&mut times.starts, &mut times.records, &mut times.ends] {
        times.sort_unstable();
    }
    Ok(times)
}

async fn measure(
    workflow: &WorkflowRef<(), ()>,
    noted: &mut mpsc::UnboundedReceiver<Instant>,
    window: Duration,
) -> anyhow::Result<Times> {
    for _ in 0..FIRST {
        one(workflow, noted).await?;
        sleep(PAUSE).await;
    }
    let mut times = Times::default();
    let until = Instant::now() + window;
    while Instant::now() < until || times.ends.is_empty() {
        let [start, record, end] = one(workflow, noted).await?;
        times.starts.push(start);
        times.records.push(record);
        times.ends.push(end);
        sleep(PAUSE).await;
    }
    Ok(times)
}

/// How long it took from the start of a run to its first step, to that step's record, and to its end.
async fn one(
    workflow: &WorkflowRef<(), ()>,
    noted: &mut mpsc::UnboundedReceiver<Instant>,
) -> anyhow::Result<[Duration; 3]> {
    let began = Instant::now();
    let run = async {
        let handle = workflow.start(()).await?;
        handle.result().await
    };
    tokio::time::timeout(PATIENCE, run).await.context("a run is lost")??;
    let end = began.elapsed();
    let mut next = || noted.try_recv().map(|at| at.saturating_duration_since(began));
    Ok([next()?, next()?, end])
}

/// Two steps. Notes when the first begins, and when its result is committed.
fn register(peer: &DBOS, noting: mpsc::UnboundedSender<Instant>) -> anyhow::Result<WorkflowRef<(), ()>> {
    let workflow = peer.register_workflow("start", move |(): ()| {
        let noting = noting.clone();
        async move {
            let note = || {
                let _ = noting.send(Instant::now());
            };
            dbos::step("step", || {
                note();
                async { dbos::Result::Ok(()) }
            })
            .await?;
            note();
            dbos::step("step", || async { dbos::Result::Ok(()) }).await?;
            Ok(())
        }
    })?;
    Ok(workflow)
}
