//! W1 and W3: steps of workflows, many runs at once and one run alone.

use crate::dbos_peer::Ground;
use anyhow::{Context, ensure};
use dbos::{DBOS, WorkflowRef};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// All connections are made, and all runs are under way, when it begins to count.
const WARM_UP: Duration = Duration::from_millis(500);

/// What one run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) steps: usize,
    pub(crate) result_bytes: usize,
}

pub(crate) const SMALL: Shape = Shape {
    steps: 10,
    result_bytes: 8,
};
pub(crate) const LARGE: Shape = Shape {
    result_bytes: 10 * 1024,
    ..SMALL
};
/// More steps than fit into a window, so that one run is driven all the time.
pub(crate) const ALONE: Shape = Shape {
    steps: 1_000_000,
    ..SMALL
};

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) runs: usize,
    pub(crate) connections: u32,
}

impl Setting {
    pub(crate) const ALONE: Self = Self::new(1, 20);
    /// 16 and 24 runs were the best where it was tried; 64 is what a worker of longhaul drives.
    pub(crate) const MANY: [Self; 5] = [
        Self::new(8, 10),
        Self::new(16, 20),
        Self::new(24, 30),
        Self::new(32, 40),
        Self::new(64, 50),
    ];

    const fn new(runs: usize, connections: u32) -> Self {
        Self { runs, connections }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, connections } = self;
        write!(formatter, "{runs} runs at once, {connections} connections")
    }
}

/// Steps recorded in a second, while runs follow each other without a pause.
pub(crate) async fn rate(ground: &Ground, setting: Setting, shape: Shape, window: Duration) -> anyhow::Result<f64> {
    ground.clear().await?;
    let done = Arc::new(AtomicU64::new(0));
    let peer = ground.peer(setting.connections);
    let workflow = register(&peer, shape, &done)?;
    peer.launch().await?;
    let counted = count(workflow, setting, &done, window).await;
    // Ends the runs that are under way.
    peer.shutdown().await;
    let (steps, elapsed) = counted?;
    ensure!(steps > 0, "the peer has done nothing");
    let (told, recorded) = (done.load(Ordering::Relaxed), ground.recorded().await?);
    ensure!(
        recorded >= told,
        "the peer told of {told} steps, and recorded {recorded}"
    );
    Ok(as_number(steps) / elapsed.as_secs_f64())
}

fn register(peer: &DBOS, shape: Shape, done: &Arc<AtomicU64>) -> anyhow::Result<WorkflowRef<(), ()>> {
    let done = Arc::clone(done);
    let workflow = peer.register_workflow("steps", move |(): ()| {
        let done = Arc::clone(&done);
        async move {
            for _ in 0..shape.steps {
                dbos::step("step", move || async move {
                    dbos::Result::Ok("x".repeat(shape.result_bytes))
                })
                .await?;
                // A step counts once its result is committed.
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    })?;
    Ok(workflow)
}

/// The steps of a window, and how long it was.
async fn count(
    workflow: WorkflowRef<(), ()>,
    setting: Setting,
    done: &AtomicU64,
    window: Duration,
) -> anyhow::Result<(u64, Duration)> {
    let mut callers = JoinSet::new();
    for _ in 0..setting.runs {
        callers.spawn(keep_running(workflow.clone()));
    }
    let counting = async {
        tokio::time::sleep(WARM_UP).await;
        let (before, began) = (done.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(window).await;
        (done.load(Ordering::Relaxed) - before, began.elapsed())
    };
    tokio::select! {
        counted = counting => Ok(counted),
        Some(ended) = callers.join_next() => {
            ended??;
            anyhow::bail!("a caller has ended early")
        }
    }
}

/// One run after the other, started where it is driven.
async fn keep_running(workflow: WorkflowRef<(), ()>) -> anyhow::Result<()> {
    loop {
        workflow.run(()).await.context("a run failed")?;
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52")]
pub(crate) const fn as_number(count: u64) -> f64 {
    count as f64
}
