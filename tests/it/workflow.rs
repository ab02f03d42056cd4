//! Workflows in Rust: each step once, whatever becomes of the worker, and no stale result.

mod anew;
mod child;
mod command_line;
mod decided;
mod doubt;
mod held;
mod name;
mod output;
mod race;
mod retry;
mod signal;
mod stop;
mod transaction;

use engine::{RunId, StartRun};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use worker::{Builder, Context, FunctionError, Retry, StepCall, WorkflowError};

/// What really happened, as the outside world remembers it.
#[derive(Clone, Default)]
struct Outside {
    calls: Arc<Mutex<Vec<(String, StepCall)>>>,
    open: Arc<watch::Sender<bool>>,
}

impl Outside {
    fn note(&self, what: &str, call: &StepCall) {
        self.calls.lock().unwrap().push((what.to_owned(), call.clone()));
    }

    fn names(&self) -> Vec<String> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn keys(&self, what: &str) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let of = calls.iter().filter(|(name, _)| name == what);
        of.map(|(_, call)| call.key.clone()).collect()
    }

    fn open(&self) {
        self.open.send_replace(true);
    }

    async fn opened(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    /// Waits until so many calls were made.
    async fn made(&self, count: usize) {
        let waiting = async {
            while self.names().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let made = tokio::time::timeout(longhaul_tests::world::PATIENCE, waiting).await;
        assert!(made.is_ok(), "{count} calls: {:?}", self.names());
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
}

fn quick() -> Retry {
    Retry {
        initial: Duration::from_millis(10),
        cap: Duration::from_millis(20),
        ..Retry::default()
    }
}

async fn world() -> World {
    // No model is asked for anything.
    World::new(Script::new().rule(Rule::always().answers(Answer::text("Yes.")))).await
}

async fn start(world: &World, kind: &str) -> RunId {
    let start = StartRun::workflow(kind, json!({"id": "ORD-1"}).to_string());
    world.engine.start_run(&start).await.expect("the run starts").run
}

/// Waits until this counts any sessions.
async fn seen(pool: &sqlx::PgPool, sessions: &'static str) {
    let counting = async {
        while sqlx::query_scalar::<_, i64>(sessions)
            .fetch_one(pool)
            .await
            .expect("sessions are read")
            == 0
        {
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(longhaul_tests::world::PATIENCE, counting).await;
    assert!(seen.is_ok(), "{sessions}");
}

/// The state of each step by its identity.
async fn steps(world: &World, run: RunId) -> Value {
    world
        .sql(
            "select coalesce(jsonb_object_agg(identity, state), '{}') from longhaul.step where run_id = $1",
            run,
        )
        .await
}

/// Charges, then ships.
fn shop(outside: &Outside) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("shop", move |ctx: Context, order: Order| {
            let outside = outside.clone();
            async move {
                let charge = outside.clone();
                let receipt: String = ctx
                    .step("charge", order.clone(), move |call, order| {
                        charge.note("charge", &call);
                        async move { Ok(format!("receipt of {}", order.id)) }
                    })
                    .await?;
                let ship = outside.clone();
                ctx.step("ship", receipt.clone(), move |call, _| {
                    ship.note("ship", &call);
                    async { Ok(()) }
                })
                .idempotent()
                .await?;
                Ok(receipt)
            }
        })
    }
}

#[tokio::test]
async fn a_workflow_makes_each_step_once_and_ends_with_its_output() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "shop").await;
    let worker = world.worker_with(world.config("worker A"), shop(&outside));

    let ended = world.settled(run).await;

    assert_eq!(
        (ended.state.as_str(), ended.result.as_deref()),
        ("succeeded", Some(r#""receipt of ORD-1""#))
    );
    assert_eq!(outside.names(), ["charge", "ship"]);
    assert_eq!(outside.keys("charge"), [format!("{run}-charge#1")]);
    // An intent for what may not be repeated; one row and one event for what may; the end travels with the last result.
    assert_eq!(
        world.events(run).await,
        [
            "run.started",
            "run.claimed",
            "step.started",
            "step.succeeded",
            "step.succeeded",
            "run.succeeded"
        ]
    );
    assert_eq!(
        steps(&world, run).await,
        json!({"charge#1": "succeeded", "ship#1": "succeeded"})
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_run_of_a_workflow_waits_for_a_worker_that_has_it() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "shop").await;
    let other = world.worker(world.config("worker A"), worker::Functions::new());
    world.lease_extended().await;
    assert_eq!(world.engine.run_detail(run).await.unwrap().state, "queued");
    let able = world.worker_with(world.config("worker B"), shop(&outside));
    assert_eq!(world.settled(run).await.state, "succeeded");
    other.drain().await;
    able.drain().await;
}

/// One step that waits until it is let go, of this effect.
fn held(outside: &Outside, effect: agent::Effect) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("held", move |ctx: Context, order: Order| {
            let outside = outside.clone();
            async move {
                let wait = outside.clone();
                ctx.step("pay", order, move |call, _| {
                    wait.note("pay", &call);
                    let wait = wait.clone();
                    async move {
                        wait.opened().await;
                        Ok("paid".to_owned())
                    }
                })
                .effect(effect)
                .await
                .map_err(WorkflowError::from)
            }
        })
    }
}

#[tokio::test]
async fn what_a_vanished_worker_had_out_is_made_again_or_left_unknown_as_its_effect_says() {
    for (effect, calls) in [(agent::Effect::Idempotent, 2), (agent::Effect::AtMostOnce, 1)] {
        let world = world().await;
        let outside = Outside::default();
        let run = start(&world, "held").await;
        let mut config = world.config("worker A");
        config.lease = Duration::from_millis(600);
        let worker = world.worker_with(config.clone(), held(&outside, effect));
        outside.made(1).await;
        worker.vanish();
        outside.open();
        config.name = "worker B".to_owned();
        let worker = world.worker_with(config, held(&outside, effect));

        let settled = world.settled(run).await;

        assert_eq!(outside.names().len(), calls, "{effect:?}");
        let keys = outside.keys("pay");
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        if calls == 1 {
            assert_eq!(settled.wait_reason.as_deref(), Some("unknown_outcome"));
            assert_eq!(steps(&world, run).await, json!({"pay#1": "unknown"}));
        } else {
            assert_eq!(settled.state, "succeeded");
        }
        world.events(run).await;
        worker.drain().await;
    }
}

/// Notes, sleeps, notes.
fn sleeper(outside: &Outside, nap: Duration) -> impl FnOnce(Builder) -> Builder + use<> {
    let outside = outside.clone();
    move |builder| {
        builder.workflow("sleeper", move |ctx: Context, _: Order| {
            let outside = outside.clone();
            async move {
                let (id, number, before) = (ctx.uuid(), ctx.random(), ctx.now().await?);
                for name in ["before", "after"] {
                    let noting = outside.clone();
                    ctx.step(name, (), move |call, ()| {
                        noting.note(name, &call);
                        async { Ok(()) }
                    })
                    .idempotent()
                    .await?;
                    if name == "before" {
                        ctx.sleep(nap).await?;
                    }
                }
                Ok((id, number, before))
            }
        })
    }
}

#[tokio::test]
async fn a_long_sleep_parks_the_run_and_what_came_before_it_is_not_done_again() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "sleeper").await;
    let nap = Duration::from_secs(7 * 24 * 3600);
    let worker = world.worker_with(world.config("worker A"), sleeper(&outside, nap));
    let parked = world.until(run, "is parked", |run| run.state == "waiting").await;
    assert_eq!(parked.waiting_for.as_deref(), Some("timer"));
    worker.drain().await;
    let rows = "select to_jsonb(count(*)) from longhaul.step where run_id = $1";
    assert_eq!(world.sql(rows, run).await, json!(3), "the time, the step, the sleep");

    let ring = "update longhaul.step set due_at = now() where run_id = $1 and kind = 'timer' returning to_jsonb(seq)";
    world.sql(ring, run).await;
    world
        .sql(
            "update longhaul.run set due_at = now() where id = $1 returning to_jsonb(id)",
            run,
        )
        .await;
    let worker = world.worker_with(world.config("worker B"), sleeper(&outside, nap));

    let ended = world.settled(run).await;
    assert_eq!(ended.state, "succeeded");
    assert_eq!(outside.names(), ["before", "after"]);
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn random_numbers_and_ids_are_the_same_whenever_the_workflow_is_run_again() {
    let world = world().await;
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let run = start(&world, "dreamer").await;
    let noting = Arc::clone(&seen);
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("dreamer", move |ctx: Context, _: Order| {
            let seen = Arc::clone(&noting);
            async move {
                let (id, number, now) = (ctx.uuid(), ctx.random(), ctx.now().await?);
                assert_ne!(ctx.random(), number);
                seen.lock().unwrap().push(json!([id, number, now]));
                ctx.sleep(Duration::from_millis(2500)).await?;
                Ok(())
            }
        })
    });
    assert_eq!(world.settled(run).await.state, "succeeded");
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2, "parked once");
    assert_eq!(seen[0], seen[1]);
    worker.drain().await;
}

#[tokio::test]
async fn a_failing_step_is_tried_again_and_its_end_is_the_workflows_to_handle() {
    let world = world().await;
    let outside = Outside::default();
    let tries = Arc::new(AtomicU32::new(0));
    let run = start(&world, "stubborn").await;
    let (noting, counting) = (outside.clone(), Arc::clone(&tries));
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("stubborn", move |ctx: Context, _: Order| {
            let (outside, tries) = (noting.clone(), Arc::clone(&counting));
            async move {
                let third: u32 = ctx
                    .step("third", (), move |_, ()| {
                        let number = tries.fetch_add(1, Ordering::SeqCst) + 1;
                        async move {
                            if number < 3 {
                                return Err(FunctionError::transient("not yet"));
                            }
                            Ok(number)
                        }
                    })
                    .idempotent()
                    .retry(quick())
                    .await?;
                let refused = ctx
                    .step("never", third, move |call, _| {
                        outside.note("never", &call);
                        async { Err::<(), _>(FunctionError::permanent("no").not_applied()) }
                    })
                    .await;
                Ok(refused.expect_err("it fails").code().to_owned())
            }
        })
    });
    let ended = world.settled(run).await;
    assert_eq!(
        (ended.state.as_str(), ended.result.as_deref()),
        ("succeeded", Some(r#""step_failed""#))
    );
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert_eq!(outside.names().len(), 1);
    world.events(run).await;
    worker.drain().await;
}

#[tokio::test]
async fn branches_run_at_the_same_time_and_each_has_a_path_of_its_own() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "fan").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("fan", move |ctx: Context, _: Order| {
            let outside = noting.clone();
            async move {
                let branch = |ctx: Context, number: u32| {
                    let outside = outside.clone();
                    async move {
                        let waiting = outside.clone();
                        ctx.step("work", number, move |call, number| {
                            waiting.note("work", &call);
                            let waiting = waiting.clone();
                            async move {
                                waiting.opened().await;
                                Ok(number * 2)
                            }
                        })
                        .idempotent()
                        .await
                    }
                };
                let answers: Result<Vec<u32>, _> = ctx.parallel("each", [1, 2, 3], branch).await.into_iter().collect();
                Ok(answers?)
            }
        })
    });
    outside.made(3).await;
    outside.open();
    let ended = world.settled(run).await;
    assert_eq!(ended.result.as_deref(), Some("[2,4,6]"));
    assert_eq!(
        steps(&world, run).await,
        json!({"each#1[0]/work#1": "succeeded", "each#1[1]/work#1": "succeeded", "each#1[2]/work#1": "succeeded"})
    );
    worker.drain().await;
}

#[tokio::test]
async fn two_steps_of_one_name_at_the_same_time_are_refused_as_ambiguous() {
    let world = world().await;
    let run = start(&world, "twins").await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("twins", |ctx: Context, _: Order| async move {
            let first = ctx
                .step("same", 1, |_, number: i32| async move { Ok(number) })
                .read_only();
            let second = ctx
                .step("same", 2, |_, number: i32| async move { Ok(number) })
                .read_only();
            let refused = second.await.expect_err("it is refused");
            let first = first.await?;
            Ok((first, refused.code().to_owned()))
        })
    });
    let ended = world.settled(run).await;
    assert_eq!(ended.result.as_deref(), Some(r#"[1,"ambiguous_step"]"#));
    worker.drain().await;
}

/// Charges this amount, then sleeps for long.
fn charging(amount: u32) -> impl FnOnce(Builder) -> Builder {
    move |builder| {
        builder.workflow("charging", move |ctx: Context, _: Order| async move {
            ctx.step("charge", json!({"amount": amount}), |_, _| async { Ok(()) })
                .await?;
            ctx.sleep(Duration::from_secs(3600)).await?;
            Ok(())
        })
    }
}

#[tokio::test]
async fn changed_code_that_asks_for_another_input_parks_the_run_and_names_the_step() {
    let world = world().await;
    let run = start(&world, "charging").await;
    let worker = world.worker_with(world.config("worker A"), charging(5));
    world.until(run, "sleeps", |run| run.state == "waiting").await;
    worker.drain().await;
    world
        .sql(
            "update longhaul.run set due_at = now() where id = $1 returning to_jsonb(id)",
            run,
        )
        .await;

    let worker = world.worker_with(world.config("worker B"), charging(6));

    let parked = world
        .until(run, "waits for a person", |run| {
            run.wait_reason.as_deref() == Some("input_changed")
        })
        .await;
    assert_eq!(parked.waiting_for.as_deref(), Some("approval"));
    let told = "select data -> 'detail' from longhaul_audit.event where run_id = $1 and kind = 'run.parked' order by seq desc limit 1";
    assert_eq!(
        world.sql(told, run).await,
        json!({"code": "input_changed", "step": "charge#1", "recorded": r#"{"amount":5}"#, "asked": r#"{"amount":6}"#})
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_panic_fails_the_run_and_not_the_worker() {
    let world = world().await;
    let (broken, outside) = (start(&world, "broken").await, Outside::default());
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        shop(&noting)(builder.workflow("broken", |_: Context, order: Order| async move {
            assert_ne!(order.id, "ORD-1", "this workflow panics");
            Ok(())
        }))
    });
    let ended = world.settled(broken).await;
    assert_eq!(ended.state, "failed");
    assert!(ended.error.unwrap().contains("panicked"));
    let run = start(&world, "shop").await;
    assert_eq!(world.settled(run).await.state, "succeeded");
    worker.drain().await;
}

#[tokio::test]
async fn a_failed_workflow_that_is_resumed_makes_the_failed_step_anew_and_no_other() {
    let world = world().await;
    let outside = Outside::default();
    let run = start(&world, "mended").await;
    let noting = outside.clone();
    let worker = world.worker_with(world.config("worker A"), move |builder| {
        builder.workflow("mended", move |ctx: Context, _: Order| {
            let outside = noting.clone();
            async move {
                for name in ["first", "second"] {
                    let outside = outside.clone();
                    ctx.step(name, (), move |call, ()| {
                        outside.note(name, &call);
                        let mended = *outside.open.borrow();
                        async move {
                            if name == "second" && !mended {
                                return Err(FunctionError::permanent("closed").not_applied());
                            }
                            Ok(())
                        }
                    })
                    .await?;
                }
                Ok("done")
            }
        })
    });
    assert_eq!(world.settled(run).await.state, "failed");
    outside.open();
    world.engine.resume_run(run, Some("mended"), Some("ops")).await.unwrap();

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(outside.names(), ["first", "second", "second"]);
    let keys = outside.keys("second");
    assert_ne!(
        keys[0], keys[1],
        "it is certain that nothing was done under the old one"
    );
    worker.drain().await;
}
