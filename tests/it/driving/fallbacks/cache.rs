//! Earlier results of tools that change nothing, told again.

use super::super::asked;
use super::{Shop, find, finding, labelled, request, results, shown};
use engine::transition::ApplyAgent;
use engine::{RunId, StartRun};
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::json;

const CACHE: &str = "cache = { ttl_seconds = 300, stale_on_error_seconds = 3600 }";

/// What the model was told in the newest request.
fn newest(world: &World) -> (String, bool) {
    let places = world.rehearsal.asked().len();
    results(&request(world, places - 1)).swap_remove(0)
}

async fn another(world: &World, name: &str) -> RunId {
    let run = world.start(name, &json!("hello")).await;
    let ended = world.settled(run).await;
    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    run
}

/// Makes all that is kept so much older.
async fn age(world: &World, seconds: i32) {
    sqlx::query("update longhaul.tool_cache set recorded_at = recorded_at - make_interval(secs => $1)")
        .bind(seconds)
        .execute(&world.database.pool().await)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_result_is_told_again_within_its_time_and_says_so() {
    let world = World::new(finding()).await;
    world.apply(&find(CACHE)).await;
    let shop = Shop::default();
    let worker = world.worker(world.config("worker A"), shop.functions());

    another(&world, "helper").await;
    let (label, text) = labelled(&newest(&world));
    assert_eq!(
        (&label, text.as_str()),
        (&json!({"source": "live"}), "find found books")
    );
    age(&world, 100).await;
    let run = another(&world, "helper").await;

    let (label, text) = labelled(&newest(&world));
    assert_eq!((&label["source"], text.as_str()), (&json!("cache"), "find found books"));
    let age_seconds = label["age_seconds"].as_u64().unwrap();
    assert!((100..300).contains(&age_seconds), "{label}");
    assert_eq!(shop.tools().len(), 1, "and nothing is called");
    let step = world
        .sql(
            "select jsonb_build_array(state, attempt, attempt_started_at) from longhaul.step
             where run_id = $1 and kind = 'tool'",
            run,
        )
        .await;
    assert_eq!(step, json!(["succeeded", 0, null]), "it is a step without an attempt");
    assert_eq!(shown(&world, run).await[0]["source"], "cache");
    world.events(run).await;
    age(&world, 300).await;
    another(&world, "helper").await;
    assert_eq!(shop.tools().len(), 2, "what is too old is asked for anew");
    worker.drain().await;
}

#[tokio::test]
async fn a_stale_result_stands_for_a_call_that_failed_and_warns() {
    let world = World::new(finding()).await;
    world
        .apply(&find(&format!("{CACHE}\nfallback = [{{ tool = \"find_old\" }}]")))
        .await;
    let shop = Shop::default();
    let worker = world.worker(world.config("worker A"), shop.functions());
    another(&world, "helper").await;
    age(&world, 1_000).await;
    shop.fails(2);

    let run = another(&world, "helper").await;

    let (label, text) = labelled(&newest(&world));
    assert_eq!(
        (&label["source"], text.as_str()),
        (&json!("stale_cache"), "find found books")
    );
    assert!(label["age_seconds"].as_u64().unwrap() >= 1_000);
    assert!(
        label["warning"].as_str().unwrap().contains("may no longer hold"),
        "{label}"
    );
    assert_eq!(label["because"], "function_failed: the shop is closed");
    let shown = shown(&world, run).await;
    assert_eq!(
        (&shown[0]["source"], &shown[0]["replaces_seq"]),
        (&json!("stale_cache"), &json!(2))
    );
    age(&world, 3_600).await;
    another(&world, "helper").await;
    let (label, _) = labelled(&newest(&world));
    assert_eq!(label["fallback"], "find_old", "what is too old stands for nothing");
    assert_eq!(shop.tools(), ["find", "find", "find", "find_old"]);
    worker.drain().await;
}

#[tokio::test]
async fn a_result_is_told_again_only_to_the_same_question_version_and_tenant() {
    let script = Script::new()
        .rule(
            Rule::on_turn(1)
                .text_contains("other question")
                .answers(Answer::calling("find", json!({"text": "pens"}))),
        )
        .rule(Rule::on_turn(1).answers(Answer::calling("find", json!({"text": "books"}))))
        .rule(Rule::always().answers(Answer::text("All is done.")));
    let world = World::new(script).await;
    world.apply(&find(CACHE)).await;
    let shop = Shop::default();
    let worker = world.worker(world.config("worker A"), shop.functions());
    another(&world, "helper").await;

    let run = world.start("helper", &json!("an other question")).await;
    world.settled(run).await;
    assert_eq!(shop.tools().len(), 2, "another question");
    world.apply(&find(&format!("{CACHE}\ntimeout_seconds = 9"))).await;
    another(&world, "helper").await;
    assert_eq!(shop.tools().len(), 3, "another version of the tool");
    let definition = agent::definition::read(&find(CACHE)).unwrap().agent;
    let theirs = ApplyAgent {
        tenant: "theirs",
        name: "helper",
        definition: &agent::definition::digest_text(&definition),
        functions: &definition.functions(),
    };
    world.engine.apply_agent(theirs).await.unwrap();
    let mut start = StartRun::new("helper", "\"hello\"");
    start.tenant = "theirs".to_owned();
    let run = world.engine.start_run(&start).await.unwrap().run;
    world.settled(run).await;
    assert_eq!(shop.tools().len(), 4, "another tenant");
    world.apply(&find(CACHE)).await;
    another(&world, "helper").await;
    assert_eq!(shop.tools().len(), 4, "and the first one's is still there");
    worker.drain().await;
}

#[tokio::test]
async fn a_result_of_one_requester_is_told_to_no_other_where_the_tool_says_so() {
    let world = World::new(finding()).await;
    world.apply(&find("cache = { per_requester = true }")).await;
    let shop = Shop::default();
    let worker = world.worker(world.config("worker A"), shop.functions());
    for (requester, calls) in [("ann", 1), ("bob", 2), ("ann", 2)] {
        let mut start = StartRun::new("helper", "\"hello\"");
        start.requester = Some(requester.to_owned());
        let run = world.engine.start_run(&start).await.unwrap().run;
        assert_eq!(world.settled(run).await.state, "succeeded");
        assert_eq!(shop.tools().len(), calls, "{requester}");
    }
    worker.drain().await;
}

#[tokio::test]
async fn upkeep_forgets_results_that_are_of_no_use_any_more() {
    let world = World::new(finding()).await;
    world.apply(&find(CACHE)).await;
    let shop = Shop::default();
    let worker = world.worker(world.config("worker A"), shop.functions());
    let run = another(&world, "helper").await;
    let kept = "select to_jsonb(count(*)) from longhaul.tool_cache where run_id = $1";
    assert_eq!(world.sql(kept, run).await, 1);

    assert_eq!(world.engine.sweep_cache().await.unwrap(), 0, "it may still be told");
    sqlx::query("update longhaul.tool_cache set expires_at = now()")
        .execute(&world.database.pool().await)
        .await
        .unwrap();
    assert_eq!(world.engine.sweep_cache().await.unwrap(), 1);

    assert_eq!(world.sql(kept, run).await, 0);
    asked(&world, 2).await;
    worker.drain().await;
}
