//! `/v1/approvals`.

use super::refused;
use crate::asked::{doubtful, inbox};
use crate::driving::{request, results};
use engine::RunId;
use longhaul_tests::http_door::{HttpDoor, told};
use longhaul_tests::world::{PATIENCE, World};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::PgListener;

const NOBODY: &str = "0f7a3c2e-6d9b-4c1f-8a5e-7d6c3b2a1908";

/// Sends a body as it stands.
async fn decide(door: &HttpDoor, id: &str, body: &str) -> (StatusCode, Value) {
    let request = door.request(Method::POST, &format!("/v1/approvals/{id}/decision"));
    told(request.header("Content-Type", "application/json").body(body.to_owned())).await
}

/// The ids of what is open, newest first.
async fn open(world: &World, run: RunId) -> Vec<String> {
    let rows = inbox(world, run).await;
    let open = rows.iter().filter(|row| row.state == "open");
    open.map(|row| row.id.to_string()).collect()
}

async fn succeeded(world: &World, run: RunId) {
    world
        .until(run, "the run succeeds", |run| run.state == "succeeded")
        .await;
}

#[tokio::test]
async fn what_is_asked_is_listed_and_shown_and_a_decision_is_taken_once() {
    let (world, run, worker) = doubtful(1, 1).await;
    let door = HttpDoor::open(&world.database.url).await;

    let (status, page) = door.get(&format!("/v1/approvals?state=open&run={run}")).await;
    assert_eq!(status, 200, "{page}");
    let listed = &page["approvals"][0];
    let id = listed["id"].as_str().expect("an id").to_owned();
    let (_, shown) = door.get(&format!("/v1/approvals/{id}")).await;
    for field in [
        "id", "run_id", "agent", "workflow", "step", "name", "reason", "priority", "state", "summary", "verbs",
    ] {
        assert_eq!(listed[field], shown[field], "{field}");
    }
    assert_eq!(
        (
            &shown["run_id"],
            &shown["agent"],
            &shown["workflow"],
            &shown["step"],
            &shown["name"]
        ),
        (&json!(run), &json!("helper"), &Value::Null, &json!(2), &json!("pay"))
    );
    assert_eq!(
        (&shown["effect"], &shown["reason"], &shown["verbs"]),
        (
            &json!("at_most_once"),
            &json!("unknown_outcome"),
            &json!(["happened", "did_not_happen", "give_up"])
        )
    );
    assert!(shown["request"].to_string().contains("rent"), "{shown}");
    assert!(
        shown["error"]["message"]
            .as_str()
            .is_some_and(|told| told.contains("the line went dead"))
    );
    assert_eq!((&shown["probes"], &shown["late_results"]), (&json!([]), &json!([])));

    let answered = r#"{"verb": "happened", "words": "the bank says so", "actor": "ann", "result": {"receipt":  7.50}}"#;
    let decided = decide(&door, &id, answered).await;
    let again = decide(&door, &id, answered).await;
    succeeded(&world, run).await;

    assert_eq!(
        (decided.0.as_u16(), &decided.1),
        (200, &json!({"approval_id": id, "run_id": run, "run_state": "queued"}))
    );
    refused(&again, 409, "already_decided");
    assert!(
        again.1["detail"]
            .as_str()
            .is_some_and(|told| told.starts_with("ann decided ")),
        "{}",
        again.1
    );
    assert_eq!(
        results(&request(&world, 1)),
        [(r#"{"receipt":  7.50}"#.to_owned(), false)],
        "the model is told what was written, sign by sign"
    );
    let (_, after) = door.get(&format!("/v1/approvals/{id}")).await;
    assert_eq!(
        ["state", "verb", "actor", "words", "result"].map(|field| after[field].clone()),
        [
            json!("decided"),
            json!("happened"),
            json!("ann"),
            json!("the bank says so"),
            json!({"receipt": 7.5})
        ]
    );
    let (_, none) = door.get("/v1/approvals?state=open").await;
    assert_eq!(none, json!({"approvals": [], "next_cursor": null}));
    worker.drain().await;
}

#[tokio::test]
async fn whoever_does_not_say_who_decides_is_the_servers_principal_and_the_decision_is_announced() {
    let (world, run, worker) = doubtful(1, 1).await;
    worker.drain().await;
    let door = HttpDoor::open(&world.database.url).await;
    let id = open(&world, run).await.remove(0);
    let mut listener = PgListener::connect(&world.database.url).await.expect("it connects");
    listener
        .listen_all(["longhaul_due", "longhaul_event"])
        .await
        .expect("it listens");

    let decided = decide(&door, &id, r#"{"verb": "give_up"}"#).await;
    assert_eq!(decided.0, 200, "{}", decided.1);

    let heard = async {
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let hint = listener.recv().await.expect("a notification");
            heard.push((hint.channel().to_owned(), hint.payload().to_owned()));
        }
        heard.sort();
        heard
    };
    let heard = tokio::time::timeout(PATIENCE, heard).await.expect("it is announced");
    assert_eq!(
        heard,
        [
            ("longhaul_due".to_owned(), "default".to_owned()),
            ("longhaul_event".to_owned(), run.to_string())
        ]
    );
    assert_eq!(inbox(&world, run).await[0].actor.as_deref(), Some("api"));
}

#[tokio::test]
async fn a_page_of_approvals_goes_on_where_the_one_before_ended() {
    let (world, run, worker) = doubtful(3, 1).await;
    let door = HttpDoor::open(&world.database.url).await;

    let (mut seen, mut path) = (Vec::new(), "/v1/approvals?limit=1".to_owned());
    loop {
        let (status, page) = door.get(&path).await;
        assert_eq!(status, 200, "{page}");
        let ids = page["approvals"].as_array().expect("approvals").iter();
        seen.extend(ids.map(|approval| approval["id"].as_str().expect("an id").to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/approvals?limit=1&cursor={cursor}");
    }

    assert_eq!(seen, open(&world, run).await);
    assert_eq!(seen.len(), 3);
    worker.drain().await;
}

#[tokio::test]
async fn what_is_no_decision_is_refused_and_nothing_is_decided() {
    let (world, run, worker) = doubtful(1, 600).await;
    let door = HttpDoor::open(&world.database.url).await;
    let id = open(&world, run).await.remove(0);
    let with = |result: &str| format!(r#"{{"verb": "happened", "result": {result}}}"#);
    let nested = with(&format!("{}{}", "[".repeat(65), "]".repeat(65)));
    let large = with(&format!("{:?}", "x".repeat(1024 * 1024)));
    let wordy = json!({"verb": "give_up", "words": "x".repeat(4097)}).to_string();
    for (body, status, code) in [
        (r#"{"words": "yes"}"#, 422, "invalid_body"),
        (r#"{"verb": 7}"#, 422, "invalid_body"),
        (r#"{"verb": "nonsense"}"#, 422, "invalid_decision"),
        (r#"{"verb": "give_up", "words": ""}"#, 422, "invalid_decision"),
        (r#"{"verb": "give_up", "actor": ""}"#, 422, "invalid_decision"),
        (r#"{"verb": "give_up", "result": 1}"#, 422, "invalid_decision"),
        (r#"{"verb": "give_up", "words": "a\u0000"}"#, 422, "invalid_name"),
        (r#"{"verb": "give_up", "run": "x"}"#, 422, "unknown_field"),
        (wordy.as_str(), 422, "invalid_decision"),
        (&with("1e99999"), 422, "invalid_result"),
        (&nested, 413, "result_too_deep"),
        (&large, 413, "result_too_large"),
        (&with("{"), 400, "malformed_json"),
        (r#"{"verb": "approve"}"#, 409, "verb_not_allowed"),
        (r#"{"verb": "did_not_happen"}"#, 409, "too_early"),
    ] {
        refused(&decide(&door, &id, body).await, status, code);
    }
    let give_up = r#"{"verb": "give_up"}"#;
    refused(&decide(&door, NOBODY, give_up).await, 404, "no_such_approval");
    refused(&decide(&door, "nonsense", give_up).await, 400, "bad_id");
    refused(
        &door.get(&format!("/v1/approvals/{NOBODY}")).await,
        404,
        "no_such_approval",
    );
    refused(&door.get("/v1/approvals/nonsense").await, 400, "bad_id");
    refused(&door.get("/v1/approvals?cursor=rubbish").await, 400, "bad_cursor");
    refused(&door.get("/v1/approvals?state=nonsense").await, 400, "bad_parameter");
    refused(&door.get("/v1/approvals?run=nonsense").await, 400, "bad_parameter");
    assert_eq!(open(&world, run).await, [id.as_str()]);

    world.engine.cancel_run(run, None, None).await.expect("it is cancelled");
    refused(&decide(&door, &id, give_up).await, 409, "approval_closed");
    worker.drain().await;
}

#[tokio::test]
async fn what_another_tenant_is_asked_is_not_there() {
    let (world, run, worker) = doubtful(1, 1).await;
    let id = open(&world, run).await.remove(0);
    let other = HttpDoor::open_with(&world.database.url, |options| "other".clone_into(&mut options.tenant)).await;

    let (_, page) = other.get("/v1/approvals").await;
    assert_eq!(page["approvals"], json!([]));
    refused(
        &other.get(&format!("/v1/approvals/{id}")).await,
        404,
        "no_such_approval",
    );
    refused(
        &decide(&other, &id, r#"{"verb": "give_up"}"#).await,
        404,
        "no_such_approval",
    );
    assert_eq!(open(&world, run).await, [id]);
    worker.drain().await;
}
