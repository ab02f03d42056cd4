//! Random operations on the engine and on a small model of it in memory: after each of them both have given the same
//! answer, and hold the same.
//!
//! All cases share one database, one after another. A case that fails is made smaller first; its seed, in
//! `LONGHAUL_MODEL_SEED`, draws the same cases again. `LONGHAUL_MODEL_CASES` says how many there are.
//! The operations are in [`operation`], the model in [`memory`], and [`act`] does the one to the other.

mod act;
mod memory;
mod operation;
mod rows;
mod write;

use crate::stage::Stage;
use act::Pair;
use engine::Connect;
use engine::recorder::Recorder;
use operation::Operation;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::{Cell, RefCell};
use std::env;
use std::time::Duration;

/// As many as a few seconds hold.
const CASES: u32 = 30;
/// How long a failing case is made smaller.
const SHRINKING: Duration = Duration::from_secs(60);

fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

/// Draws cases, does them, and says how many operations that were.
fn cases((seed, many): (u64, u32), mut case: impl FnMut(&[Operation]) -> Result<(), TestCaseError>) -> u64 {
    let config = Config {
        cases: many,
        failure_persistence: None,
        max_shrink_time: u32::try_from(SHRINKING.as_millis()).expect("a minute"),
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let done = Cell::new(0);
    let case = RefCell::new(&mut case);
    let held = runner.run(&operation::operations(), |operations| {
        done.set(done.get() + operations.len() as u64);
        (case.borrow_mut())(&operations)
    });
    if let Err(error) = held {
        panic!("LONGHAUL_MODEL_SEED={seed}\n{error}");
    }
    done.get()
}

#[test]
fn the_engine_does_what_its_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let stage = runtime.block_on(Stage::new());
    let recorder = runtime.block_on(async {
        stage.apply("surgeon", &["cut"]).await;
        Recorder::start(&Connect::new(&stage.database.url, "test"), stage.engine.clone()).await
    });
    let recorder = recorder.expect("the recorder starts");
    let case = |operations: &[Operation]| {
        runtime.block_on(async {
            let mut pair = Pair::new(&stage, &recorder).await;
            for (place, operation) in operations.iter().enumerate() {
                pair.act(operation).await.map_err(|error| write::at(place, error))?;
            }
            Ok(())
        })
    };
    let seed = setting("LONGHAUL_MODEL_SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    let many = setting("LONGHAUL_MODEL_CASES").map_or(CASES, |cases| u32::try_from(cases).expect("not as many"));
    let operations = cases((seed, many), case);
    println!("{many} cases, {operations} operations");
}
