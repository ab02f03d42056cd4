//! `/v1/runs/{id}/signals` and `/v1/runs/{id}/children`.

use super::{id, refused, start, world};
use crate::stage::Stage;
use crate::waiting::{child_of, parked_for, takes};
use longhaul_tests::http_door::{HttpDoor, told};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn send(door: &HttpDoor, run: engine::RunId, header: Option<&str>, body: &Value) -> (StatusCode, Value) {
    let request = door
        .request(Method::POST, &format!("/v1/runs/{run}/signals"))
        .json(body);
    told(
        header
            .into_iter()
            .fold(request, |request, key| request.header("Idempotency-Key", key)),
    )
    .await
}

#[tokio::test]
async fn a_signal_is_sent_once_per_id_whatever_became_of_its_run() {
    let (_world, door) = world().await;
    let run = start(&door).await;
    let approved = json!({"name": "approved", "payload": {"by": "Ada", "n": 1}});

    let first = send(&door, run, Some("approval-17"), &approved).await;
    let again = send(
        &door,
        run,
        None,
        &json!({"name": "approved", "payload": {"n": 1, "by": "Ada"}, "id": "approval-17"}),
    )
    .await;
    let other = send(&door, run, Some("approval-17"), &json!({"name": "approved"})).await;
    let nameless = send(&door, run, None, &json!({"name": "approved", "sender": "grace"})).await;
    let cancelled = door.post(&format!("/v1/runs/{run}/cancel"), &json!({})).await;
    let late = send(&door, run, Some("approval-17"), &approved).await;
    let too_late = send(&door, run, None, &approved).await;

    assert_eq!(
        (first.0.as_u16(), &first.1),
        (201, &json!({"id": "approval-17", "created": true}))
    );
    assert_eq!(
        (again.0.as_u16(), &again.1),
        (200, &json!({"id": "approval-17", "created": false}))
    );
    refused(&other, 409, "signal_id_reused");
    assert_eq!((nameless.0.as_u16(), &nameless.1["created"]), (201, &json!(true)));
    assert_eq!(cancelled.0, 200);
    assert_eq!((late.0.as_u16(), &late.1["created"]), (200, &json!(false)));
    refused(&too_late, 409, "run_has_ended");

    let (_, page) = door.get(&format!("/v1/runs/{run}/signals?limit=1")).await;
    let cursor = page["next_cursor"].as_str().expect("a second page");
    let (_, rest) = door.get(&format!("/v1/runs/{run}/signals?cursor={cursor}")).await;
    let facts = |signal: &Value| ["id", "name", "sender", "payload", "taken_by"].map(|field| signal[field].clone());
    assert_eq!(
        facts(&page["signals"][0]),
        [
            json!("approval-17"),
            json!("approved"),
            json!("api"),
            json!({"by": "Ada", "n": 1}),
            Value::Null
        ]
    );
    assert_eq!(
        facts(&rest["signals"][0]),
        [
            nameless.1["id"].clone(),
            json!("approved"),
            json!("grace"),
            Value::Null,
            Value::Null
        ]
    );
    assert_eq!(
        (rest["signals"].as_array().map(Vec::len), &rest["next_cursor"]),
        (Some(1), &Value::Null)
    );
}

#[tokio::test]
async fn what_is_no_signal_is_refused_and_nothing_is_sent() {
    let (_world, door) = world().await;
    let run = start(&door).await;
    let nested = |levels: usize| {
        format!(
            r#"{{"name": "go", "payload": {}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let large = format!(r#"{{"name": "go", "payload": {:?}}}"#, "x".repeat(1024 * 1024));
    let long = json!({"name": "go", "id": "x".repeat(256)}).to_string();
    for (body, status, code) in [
        (r#"{"payload": 1}"#, 422, "invalid_body"),
        (r#"{"name": 7}"#, 422, "invalid_body"),
        (r#"{"name": ""}"#, 422, "invalid_signal"),
        (r#"{"name": "go", "sender": ""}"#, 422, "invalid_signal"),
        (long.as_str(), 422, "invalid_signal"),
        (r#"{"name": "g\u0000"}"#, 422, "invalid_name"),
        (r#"{"name": "go", "run": "x"}"#, 422, "unknown_field"),
        (r#"{"name": "go", "payload": 1e99999}"#, 422, "invalid_payload"),
        (&nested(65), 413, "payload_too_deep"),
        (&large, 413, "payload_too_large"),
        ("", 400, "malformed_json"),
    ] {
        let request = door.request(Method::POST, &format!("/v1/runs/{run}/signals"));
        let request = request.header("Content-Type", "application/json").body(body.to_owned());
        refused(&told(request).await, status, code);
    }
    let go = json!({"name": "go", "id": "a"});
    refused(&send(&door, run, Some("b"), &go).await, 400, "key_conflict");
    refused(&send(&door, run, Some("a b"), &go).await, 400, "bad_header");
    let nobody = "01a1f762-b174-7000-a4f5-d095ea2e20bd".parse().expect("an id");
    refused(&send(&door, nobody, None, &go).await, 404, "no_such_run");
    refused(
        &door.get(&format!("/v1/runs/{run}/signals?cursor=rubbish")).await,
        400,
        "bad_cursor",
    );
    assert_eq!(
        door.get(&format!("/v1/runs/{run}/signals")).await.1["signals"],
        json!([])
    );
}

#[tokio::test]
async fn a_run_says_for_which_signal_it_waits_and_a_signal_which_step_took_it() {
    let stage = Stage::new().await;
    let door = HttpDoor::open(&stage.database.url).await;
    let run = parked_for(&stage, "approved").await;

    let (_, parked) = door.get(&format!("/v1/runs/{run}")).await;
    send(&door, run, None, &json!({"name": "other"})).await;
    send(&door, run, None, &json!({"name": "approved"})).await;
    let (_, woken) = door.get(&format!("/v1/runs/{run}")).await;
    takes(&stage, run).await;
    let (_, page) = door.get(&format!("/v1/runs/{run}/signals")).await;

    assert_eq!(
        (&parked["waits_for"], &parked["awaited_signals"]),
        (&json!("the signal approved"), &json!(["approved"]))
    );
    assert_eq!(
        (&woken["state"], &woken["awaited_signals"]),
        (&json!("queued"), &json!([]))
    );
    let taken: Vec<&Value> = page["signals"]
        .as_array()
        .expect("signals")
        .iter()
        .map(|signal| &signal["taken_by"])
        .collect();
    assert_eq!(taken, [&Value::Null, &json!(1)]);
}

#[tokio::test]
async fn a_run_names_its_family_and_a_cancel_reaches_the_children_unless_told_not_to() {
    let stage = Stage::new().await;
    let door = HttpDoor::open(&stage.database.url).await;
    let (parent, [first, second]) = child_of(&stage).await;

    let shown = async |run: engine::RunId| door.get(&format!("/v1/runs/{run}")).await.1;
    let family = |run: &Value| ["parent_id", "tree_id", "on_parent_end"].map(|field| run[field].clone());
    assert_eq!(family(&shown(parent).await), [Value::Null, json!(parent), Value::Null]);
    assert_eq!(
        family(&shown(first).await),
        [json!(parent), json!(parent), json!("cancel")]
    );
    assert_eq!(
        family(&shown(second).await),
        [json!(parent), json!(parent), json!("abandon")]
    );

    let (_, page) = door.get(&format!("/v1/runs/{parent}/children?limit=1")).await;
    let cursor = page["next_cursor"].as_str().expect("a second page");
    let (_, rest) = door.get(&format!("/v1/runs/{parent}/children?cursor={cursor}")).await;
    let ids = [&page, &rest].map(|page| page["runs"][0]["id"].clone());
    assert_eq!(ids, [json!(first), json!(second)]);
    assert_eq!(page["runs"][0]["parent_id"], json!(parent));
    assert_eq!(
        door.get(&format!("/v1/runs/{first}/children")).await.1["runs"],
        json!([])
    );
    let nobody = door.get("/v1/runs/01a1f762-b174-7000-a4f5-d095ea2e20bd/children").await;
    refused(&nobody, 404, "no_such_run");

    for (body, expected) in [
        (json!({}), "cancelled"),
        (json!({"reason": "enough", "children": false}), "queued"),
    ] {
        let (parent, [child, abandoned]) = child_of(&stage).await;
        let odd = door
            .post(&format!("/v1/runs/{parent}/cancel"), &json!({"children": "no"}))
            .await;
        refused(&odd, 422, "invalid_body");
        let (status, told) = door.post(&format!("/v1/runs/{parent}/cancel"), &body).await;
        assert_eq!((status.as_u16(), id(&told)), (202, parent), "{told}");
        let states = [stage.state(child).await, stage.state(abandoned).await];
        assert_eq!(states, [expected, "queued"]);
    }
}
