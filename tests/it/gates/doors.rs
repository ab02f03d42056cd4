//! Breakers in SQL, over HTTP and on the command line.

use super::{ACT, Mood, Target, acting, agent, breaker, one_by_one, start, told, worker};
use longhaul_tests::dev_process::Desk;
use longhaul_tests::http_door::HttpDoor;
use longhaul_tests::world::{WorkerHandle, World};
use serde_json::{Value, json};
use std::fs;

async fn open() -> (World, Target, WorkerHandle) {
    let world = World::new(acting()).await;
    world
        .apply(&agent("breaker = { failures = 1, cooldown_seconds = 3600 }"))
        .await;
    let target = Target::new(Mood::Fails);
    let worker = worker(&world, "worker A", &target);
    one_by_one(&world, 1).await;
    super::breaker_is(&world, ACT, "open").await;
    target.is(Mood::Works);
    (world, target, worker)
}

/// A call is made.
async fn goes_out(world: &World) {
    let run = start(world, "again").await;
    assert_eq!(world.settled(run).await.state, "succeeded");
    assert_eq!(told(world, run).await, json!("did again"));
}

#[tokio::test]
async fn a_breaker_is_seen_and_reset_in_sql() {
    let (world, _target, worker) = open().await;
    let pool = world.database.pool().await;
    let seen: (String, i32, Option<String>) = sqlx::query_as(
        "select state, failures, error_code from longhaul_audit.breaker where scope = 'tool:helper.act'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((seen.0.as_str(), seen.1), ("open", 1));
    assert!(seen.2.is_some());

    let was: String =
        sqlx::query_scalar("select longhaul.reset_breaker('tool:helper.act', reason => 'it is up', actor => 'ann')")
            .fetch_one(&pool)
            .await
            .unwrap();

    assert_eq!(was, "open");
    goes_out(&world).await;
    let change: (String, Option<String>, Option<String>) = sqlx::query_as(
        "select why, actor, reason from longhaul_audit.breaker_change where scope = 'tool:helper.act'
         order by generation desc limit 1",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(
        change,
        ("reset".to_owned(), Some("ann".to_owned()), Some("it is up".to_owned()))
    );
    let refused = sqlx::query("select longhaul.reset_breaker('tool:helper.nothing')")
        .execute(&pool)
        .await
        .unwrap_err();
    assert_eq!(engine::EngineError::from(refused).code(), "no_such_breaker");
    let refused = sqlx::query("select longhaul.open_breaker('everything')")
        .execute(&pool)
        .await
        .unwrap_err();
    assert_eq!(engine::EngineError::from(refused).code(), "invalid_breaker");
    worker.drain().await;
}

#[tokio::test]
async fn a_breaker_is_seen_reset_and_opened_over_http() {
    let (world, target, worker) = open().await;
    let door = HttpDoor::open(&world.database.url).await;

    let (status, page) = door.get("/v1/breakers").await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(
        (&page["breakers"][0]["name"], &page["breakers"][0]["state"]),
        (&json!(ACT), &json!("open"))
    );
    let (status, shown) = door.get(&format!("/v1/breakers/{ACT}")).await;
    assert_eq!(
        (status.as_u16(), &shown["changes"][0]["why"]),
        (200, &json!("failures")),
        "{shown}"
    );
    let reset = format!("/v1/breakers/{ACT}/reset");
    let (status, shown) = door.post(&reset, &json!({"reason": "up again"})).await;
    assert_eq!((status.as_u16(), &shown["state"]), (200, &json!("closed")), "{shown}");
    assert_eq!(shown["changes"][0]["reason"], json!("up again"));
    goes_out(&world).await;

    let opening = format!("/v1/breakers/{ACT}/open");
    let (status, shown) = door.post(&opening, &json!({"seconds": 60})).await;
    assert_eq!((status.as_u16(), &shown["state"]), (200, &json!("open")), "{shown}");
    let (status, refused) = door.post(&opening, &json!({"seconds": 0})).await;
    assert_eq!((status.as_u16(), &refused["code"]), (422, &json!("invalid_breaker")));
    let (status, refused) = door.get("/v1/breakers/tool:helper.nothing").await;
    assert_eq!((status.as_u16(), &refused["code"]), (404, &json!("no_such_breaker")));
    assert_eq!(target.calls(), 2);
    worker.drain().await;
}

#[tokio::test]
async fn a_breaker_is_seen_reset_and_opened_on_the_command_line() {
    let (world, _target, worker) = open().await;
    let desk = Desk::new();
    let settings = format!("database_url = {:?}\n", world.database.url);
    fs::write(desk.path().join("longhaul.toml"), settings).expect("it is written");

    let listed = desk.said(&["breaker", "list"]);
    assert!(listed.contains(ACT) && listed.contains("open"), "{listed}");
    let shown = desk.said(&["breaker", "show", ACT]);
    assert!(
        shown.contains("no call goes out before") && shown.contains("failures, run "),
        "{shown}"
    );
    let reset = desk.said(&["breaker", "reset", ACT, "--reason", "up again", "--by", "ann"]);
    assert!(
        reset.contains("is closed") && reset.contains("by ann: up again"),
        "{reset}"
    );
    goes_out(&world).await;
    assert_eq!(breaker(&world, ACT).await.unwrap().state, "closed");

    let opened: Value =
        serde_json::from_str(&desk.said(&["breaker", "open", ACT, "--seconds", "60", "--json"])).expect("JSON");
    assert_eq!(opened["breaker"]["state"], json!("open"));
    let (error, code) = desk.refused(&["breaker", "reset", "tool:helper.nothing"]);
    assert_eq!((error["code"].as_str(), code), (Some("no_such_breaker"), Some(3)));
    let (error, code) = desk.refused(&["breaker", "open", "everything"]);
    assert_eq!((error["code"].as_str(), code), (Some("invalid_breaker"), Some(2)));
    worker.drain().await;
}
