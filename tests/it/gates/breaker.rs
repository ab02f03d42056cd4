//! A target that fails is spared, and tried by one call in the whole fleet.

use super::{
    ACT, Mood, Target, acting, agent, breaker, breaker_is, cooled_down, held_back, history, one_by_one, start,
};
use super::{told, worker};
use engine::OpenBreaker;
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;
use worker::Functions;

/// A world whose target has failed three times in a row.
async fn failing(cooldown_seconds: u32) -> (World, Target) {
    let world = World::new(acting()).await;
    let keys = format!("breaker = {{ failures = 3, cooldown_seconds = {cooldown_seconds} }}");
    world.apply(&agent(&keys)).await;
    (world, Target::new(Mood::Fails))
}

fn opening() -> OpenBreaker {
    OpenBreaker {
        scope: ACT.to_owned(),
        tenant: "default".to_owned(),
        seconds: 3_600,
        reason: None,
        actor: None,
    }
}

#[tokio::test]
async fn after_so_many_failures_in_a_row_a_call_is_answered_at_once_and_not_made() {
    let (world, target) = failing(3_600).await;
    let worker = worker(&world, "worker A", &target);
    one_by_one(&world, 2).await;
    // One that succeeds begins the count anew.
    target.is(Mood::Works);
    one_by_one(&world, 1).await;
    target.is(Mood::Fails);
    one_by_one(&world, 2).await;
    assert_eq!(
        breaker(&world, ACT).await.map(|row| row.state).as_deref(),
        Some("closed")
    );
    let last = start(&world, "the third in a row").await;
    world.settled(last).await;
    let open = breaker_is(&world, ACT, "open").await;
    assert_eq!((open.failures, open.failures_max, open.cooldown_seconds), (3, 3, 3_600));
    let calls = target.calls();

    let run = start(&world, "too late").await;

    assert_eq!(world.settled(run).await.state, "succeeded");
    let told = told(&world, run).await;
    assert_eq!(
        (&told["code"], &told["error_type"]),
        (&json!("breaker_open"), &json!("overloaded"))
    );
    let until = open
        .retry_at
        .expect("a time")
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    assert!(
        told["message"]
            .as_str()
            .is_some_and(|said| said.contains("temporarily unavailable")),
        "{told}"
    );
    assert!(
        told["suggestion"].as_str().is_some_and(|said| said.contains(&until)),
        "{told}"
    );
    assert_eq!(target.calls(), calls, "{:?}", target.words());
    let journal = world.engine.journal(run).await.unwrap();
    assert_eq!((journal[1].state.as_str(), journal[1].attempt), ("failed", 0));
    let change = world.engine.breaker_changes("default", ACT, 1).await.unwrap().remove(0);
    assert_eq!(
        (change.why.as_str(), change.run, change.step),
        ("failures", Some(last), Some(2))
    );
    worker.drain().await;
}

#[tokio::test]
async fn one_trial_call_goes_out_in_the_whole_fleet_and_its_success_closes_the_breaker() {
    let (world, target) = failing(1).await;
    let first = worker(&world, "worker A", &target);
    one_by_one(&world, 3).await;
    breaker_is(&world, ACT, "open").await;
    let second = worker(&world, "worker B", &target);
    target.is(Mood::Hangs);
    let calls = target.calls();
    cooled_down(&world, ACT).await;

    let mut runs = Vec::new();
    for number in 0..12 {
        runs.push(start(&world, &format!("racer {number}")).await);
    }
    target.arrived(calls + 1).await;
    // All but the one on trial are answered while it is out.
    let mut ended = 0;
    while ended < 11 {
        ended = 0;
        for run in &runs {
            ended += usize::from(world.engine.run_detail(*run).await.unwrap().ended_at.is_some());
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(target.calls(), calls + 1, "{:?}", target.words());
    let half_open = breaker_is(&world, ACT, "half_open").await;
    assert!(runs.contains(&half_open.trial_run.expect("a run")));

    target.is(Mood::Works);
    breaker_is(&world, ACT, "closed").await;
    one_by_one(&world, 1).await;

    assert_eq!(target.calls(), calls + 2);
    assert_eq!(history(&world, ACT).await, ["failures", "trial", "trial_succeeded"]);
    for run in runs {
        assert_eq!(world.settled(run).await.state, "succeeded");
    }
    first.drain().await;
    second.drain().await;
}

#[tokio::test]
async fn a_trial_call_that_fails_opens_the_breaker_again() {
    let (world, target) = failing(1).await;
    let worker = worker(&world, "worker A", &target);
    one_by_one(&world, 3).await;
    let open = breaker_is(&world, ACT, "open").await;
    cooled_down(&world, ACT).await;

    one_by_one(&world, 1).await;

    let again = breaker_is(&world, ACT, "open").await;
    assert_eq!(target.calls(), 4);
    assert!(again.retry_at > open.retry_at, "{again:?}");
    assert_eq!(history(&world, ACT).await, ["failures", "trial", "trial_failed"]);
    worker.drain().await;
}

#[tokio::test]
async fn an_outcome_of_before_the_last_change_neither_opens_nor_closes() {
    let (world, target) = failing(3_600).await;
    target.is(Mood::Hangs);
    let worker = worker(&world, "worker A", &target);
    let mut runs = Vec::new();
    for number in 0..3 {
        runs.push(start(&world, &format!("long {number}")).await);
    }
    target.arrived(3).await;

    world.engine.open_breaker(&opening()).await.unwrap();
    world.engine.reset_breaker(("default", ACT), None, None).await.unwrap();
    target.is(Mood::Fails);
    for run in &runs {
        world.settled(*run).await;
    }
    let closed = breaker(&world, ACT).await.unwrap();
    assert_eq!(
        (closed.state.as_str(), closed.failures),
        ("closed", 0),
        "three late failures"
    );

    target.is(Mood::Hangs);
    let run = start(&world, "longer").await;
    target.arrived(4).await;
    world.engine.open_breaker(&opening()).await.unwrap();
    target.is(Mood::Works);
    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(breaker(&world, ACT).await.unwrap().state, "open", "a late success");
    worker.drain().await;
}

#[tokio::test]
async fn a_trial_whose_worker_is_gone_is_made_by_another_run() {
    let (world, target) = failing(1).await;
    let doomed = worker(&world, "doomed", &target);
    one_by_one(&world, 3).await;
    target.is(Mood::Hangs);
    cooled_down(&world, ACT).await;
    let trial = start(&world, "the trial").await;
    target.arrived(4).await;
    breaker_is(&world, ACT, "half_open").await;

    doomed.vanish();
    target.is(Mood::Works);
    let heir = worker(&world, "heir", &target);

    breaker_is(&world, ACT, "closed").await;
    assert_eq!(world.settled(trial).await.state, "succeeded");
    let history = history(&world, ACT).await;
    assert_eq!(history.first().map(String::as_str), Some("failures"));
    assert_eq!(
        history.last().map(String::as_str),
        Some("trial_succeeded"),
        "{history:?}"
    );
    assert_eq!(target.calls(), 5);
    heir.drain().await;
}

#[tokio::test]
async fn a_retry_waits_until_the_breaker_may_be_tried_and_goes_on() {
    let world = World::new(acting()).await;
    let keys = "breaker = { failures = 2, cooldown_seconds = 3 }";
    let file = agent(keys).replace(
        "retry = { attempts_max = 1 }",
        "retry = { attempts_max = 3, initial_ms = 10, cap_ms = 20 }",
    );
    world.apply(&file).await;
    let target = Target::new(Mood::Fails);
    let worker = worker(&world, "worker A", &target);

    let run = start(&world, "patient").await;
    let parked = world
        .until(run, "the run is parked", |run| run.state == "waiting")
        .await;
    assert_eq!(parked.wait_reason.as_deref(), Some("breaker"));
    assert_eq!(target.calls(), 2);
    target.is(Mood::Works);

    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(told(&world, run).await, json!("did patient"));
    assert_eq!(target.calls(), 3);
    assert_eq!(history(&world, ACT).await, ["failures", "trial", "trial_succeeded"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_breaker_that_is_switched_off_lets_every_call_out() {
    let world = World::new(acting()).await;
    world.apply(&agent("breaker = { enabled = false }")).await;
    let target = Target::new(Mood::Fails);
    let worker = worker(&world, "worker A", &target);

    one_by_one(&world, 7).await;

    assert_eq!(target.calls(), 7);
    assert!(breaker(&world, ACT).await.is_none());
    worker.drain().await;
}

#[tokio::test]
async fn a_refusal_by_the_target_is_no_failure_of_it() {
    let world = World::new(acting()).await;
    world.apply(&agent("breaker = { failures = 2 }")).await;
    let mut functions = Functions::new();
    functions.register("act", |_, words: super::Words| async move {
        Err::<(), _>(worker::FunctionError::user_error(format!("no {}", words.text)))
    });
    let worker = world.worker(world.config("worker A"), functions);

    one_by_one(&world, 4).await;

    assert!(breaker(&world, ACT).await.is_none());
    worker.drain().await;
}

/// A run whose model's endpoint has a breaker that is open.
#[tokio::test]
async fn a_run_whose_models_breaker_is_open_is_parked_until_it_may_be_tried() {
    let world = World::new(Script::new().rule(Rule::always().answers(Answer::text("All is done.")))).await;
    world.apply(&agent("")).await;
    let url = world.rehearsal.base_url();
    let scope = format!("model:{}", url.trim_start_matches("http://").trim_end_matches('/'));
    let mut opening = opening();
    opening.scope = scope.clone();
    opening.seconds = 3_600;
    world.engine.open_breaker(&opening).await.unwrap();
    let worker = worker(&world, "worker A", &Target::new(Mood::Works));

    let run = start(&world, "hello").await;
    let parked = held_back(&world, run).await;
    assert_eq!(parked.wait_reason.as_deref(), Some("breaker"));
    assert!(
        parked.due_at > Some(parked.created_at + chrono::TimeDelta::minutes(50)),
        "{parked:?}"
    );
    assert_eq!(world.rehearsal.asked().len(), 0);

    // Its own time is an hour away: whoever closes the breaker calls it.
    world
        .engine
        .reset_breaker(("default", &scope), None, None)
        .await
        .unwrap();
    assert_eq!(world.settled(run).await.state, "succeeded");
    worker.drain().await;
    opening.seconds = 3;
    world.engine.open_breaker(&opening).await.unwrap();
    // One that knows nothing of a breaker that was closed a moment ago.
    let worker = super::worker(&world, "worker B", &Target::new(Mood::Works));
    let second = start(&world, "hello again").await;
    held_back(&world, second).await;
    assert_eq!(world.settled(second).await.state, "succeeded");
    assert_eq!(
        history(&world, &scope).await,
        ["opened_by_hand", "reset", "opened_by_hand", "trial", "trial_succeeded"]
    );
    worker.drain().await;
}
