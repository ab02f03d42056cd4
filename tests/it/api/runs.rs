//! `/v1/runs`.

use super::{GREETER, id, refused, start, world};
use longhaul_tests::http_door::{HttpDoor, told};
use longhaul_tests::world::PATIENCE;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use worker::Functions;

#[tokio::test]
async fn a_run_is_started_once_per_key() {
    let (_world, door) = world().await;
    let ask = |input: Value| {
        told(
            door.request(Method::POST, "/v1/runs")
                .header("Idempotency-Key", "order-17")
                .json(&json!({"agent": "greeter", "input": input})),
        )
    };

    let first = ask(json!({"name": "Ada", "n": 1})).await;
    let again = ask(json!({"n": 1, "name": "Ada"})).await;
    let other = ask(json!({"name": "Grace"})).await;

    assert_eq!((first.0.as_u16(), &first.1["created"]), (201, &json!(true)));
    assert_eq!((again.0.as_u16(), &again.1["created"]), (200, &json!(false)));
    assert_eq!(first.1["id"], again.1["id"]);
    refused(&other, 409, "key_reused");
}

#[tokio::test]
async fn two_keys_of_one_request_are_refused_unless_they_are_the_same() {
    let (_world, door) = world().await;
    let ask = |headers: &[&str], body: &str| {
        let request = door.request(Method::POST, "/v1/runs");
        let request = headers
            .iter()
            .fold(request, |request, key| request.header("Idempotency-Key", *key));
        told(request.json(&json!({"agent": "greeter", "idempotency_key": body})))
    };

    let other = ask(&["a1"], "b1").await;
    let twice = ask(&["a1", "a1"], "a1").await;
    let (_, none) = door.get("/v1/runs").await;
    let same = ask(&["a1"], "a1").await;

    refused(&other, 400, "key_conflict");
    refused(&twice, 400, "key_conflict");
    assert_eq!(none["runs"], json!([]), "nothing was started");
    assert_eq!(same.0, 201);
}

#[tokio::test]
async fn what_is_told_of_a_run_is_what_was_given() {
    let (_world, door) = world().await;
    let new = json!({
        "agent": "greeter", "input": {"name": "Ada", "nothing": null, "many": [1, 2.50, "three"]}, "queue": "slow",
        "priority": 7, "due_at": "2030-01-01T00:00:00Z", "deadline_at": "2031-01-01T00:00:00Z",
        "requester": "ada@example.com", "labels": {"team": "support"},
        "history": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}],
    });

    let (status, started) = door.post("/v1/runs", &new).await;
    let (_, run) = door.get(&format!("/v1/runs/{}", id(&started))).await;

    assert_eq!(status, 201);
    for field in ["agent", "input", "queue", "priority", "due_at", "requester", "labels"] {
        assert_eq!(run[field], new[field], "{field} of {run}");
    }
    assert_eq!(run["state"], "queued");
    assert_eq!(run["drivable"], false);
    let waits_for = run["waits_for"].as_str().expect("words");
    assert!(
        waits_for.starts_with("from 2030-01-01 00:00:00 UTC on a worker that can drive it"),
        "{waits_for}"
    );
    let (_, transcript) = door.get(&format!("/v1/runs/{}/transcript", id(&started))).await;
    assert_eq!(transcript["messages"][1]["text"], "Good day.");
}

#[tokio::test]
async fn a_run_says_whether_a_live_worker_can_drive_it_and_then_what_it_did() {
    let (world, door) = world().await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    let run = start(&door).await;
    world.settled(run).await;

    let (_, shown) = door.get(&format!("/v1/runs/{run}")).await;
    let (_, journal) = door.get(&format!("/v1/runs/{run}/journal")).await;
    let (_, transcript) = door.get(&format!("/v1/runs/{run}/transcript?limit=1")).await;
    let cursor = transcript["next_cursor"].as_str().expect("a second page");
    let (_, rest) = door.get(&format!("/v1/runs/{run}/transcript?cursor={cursor}")).await;

    assert_eq!(
        (&shown["state"], &shown["drivable"]),
        (&json!("succeeded"), &json!(true))
    );
    assert_eq!(shown["result"]["answer"], "Good day.");
    assert_eq!(shown["waits_for"], Value::Null);
    assert_eq!(journal["steps"][0]["kind"], "model");
    assert_eq!(journal["steps"][0]["attempts"][0]["worker"], "worker A");
    assert_eq!(transcript["messages"][0]["role"], "user");
    assert_eq!(rest["messages"][0]["text"], "Good day.");
    assert_eq!(rest["next_cursor"], Value::Null);
    worker.drain().await;
}

#[tokio::test]
async fn a_callers_deadline_ends_the_run_and_is_named() {
    let (world, door) = world().await;
    let earlier = start(&door).await;
    let created_at = world.engine.run_detail(earlier).await.expect("a run").created_at;
    let new = json!({"agent": "greeter", "deadline_at": created_at + chrono::TimeDelta::seconds(2)});
    let run = id(&door.post("/v1/runs", &new).await.1);
    let over = async {
        while world
            .sql(
                "select to_jsonb(now() < deadline_at) from longhaul.run where id = $1",
                run,
            )
            .await
            == true
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.expect("its time runs out");
    let worker = world.worker(world.config("worker A"), Functions::new());
    world.settled(run).await;

    let (_, shown) = door.get(&format!("/v1/runs/{run}")).await;

    assert_eq!(shown["state"], "failed");
    assert_eq!(shown["error"]["code"], "deadline_exceeded");
    let suggestion = shown["error"]["suggestion"].as_str().expect("words");
    assert!(suggestion.contains("deadline_at"), "{suggestion}");
    worker.drain().await;
}

#[tokio::test]
async fn a_batch_starts_all_or_none_and_says_which_was_refused() {
    let (_world, door) = world().await;
    let items: Vec<Value> = (0..1000)
        .map(|n| json!({"agent": "greeter", "input": {"n": n}, "idempotency_key": format!("key {n}")}))
        .collect();
    let mut broken = items.clone();
    broken[617]["agent"] = json!("nobody");

    let refusal = door.post("/v1/runs/batch", &json!({ "runs": broken })).await;
    let (_, none) = door.get("/v1/runs").await;
    let started = door.post("/v1/runs/batch", &json!({ "runs": items })).await;
    let again = door.post("/v1/runs/batch", &json!({ "runs": items })).await;

    refused(&refusal, 404, "no_such_agent");
    assert_eq!(refusal.1["item"], 617);
    assert_eq!(none["runs"], json!([]), "nothing was started");
    assert_eq!(started.0, 201);
    assert_eq!(again.0, 200);
    let ids = |body: &Value| -> Vec<Value> {
        let runs = body["runs"].as_array().expect("runs");
        runs.iter().map(|run| run["id"].clone()).collect()
    };
    assert_eq!(ids(&started.1), ids(&again.1), "in the order asked");
    let (_, third) = door
        .get(&format!("/v1/runs/{}", ids(&started.1)[3].as_str().expect("an id")))
        .await;
    assert_eq!(third["input"]["n"], 3);
}

#[tokio::test]
async fn a_batch_that_is_too_large_or_empty_is_refused() {
    let (_world, door) = world().await;
    let item = json!({"agent": "greeter"});

    let many = door.post("/v1/runs/batch", &json!({"runs": vec![item; 1001]})).await;
    let none = door.post("/v1/runs/batch", &json!({"runs": []})).await;
    let odd = door
        .post(
            "/v1/runs/batch",
            &json!({"runs": [{"agent": "greeter", "priority": 1001}]}),
        )
        .await;

    refused(&many, 413, "batch_too_large");
    refused(&none, 422, "invalid_body");
    refused(&odd, 422, "invalid_priority");
    assert_eq!(odd.1["item"], 0);
}

#[tokio::test]
async fn the_list_filters_and_its_pages_stay_what_they_are() {
    let (_world, door) = world().await;
    let mut runs = Vec::new();
    for n in 0..5 {
        let new = json!({
            "agent": "greeter", "requester": if n == 2 { "ada" } else { "grace" },
            "labels": {"n": n.to_string(), "odd": (n % 2 == 1).to_string()},
        });
        runs.push(door.post("/v1/runs", &new).await.1["id"].clone());
    }
    let list = async |query: &str| {
        let (status, body) = door.get(&format!("/v1/runs{query}")).await;
        assert_eq!(status, 200, "{body}");
        let ids = body["runs"]
            .as_array()
            .expect("runs")
            .iter()
            .map(|run| run["id"].clone());
        (ids.collect::<Vec<_>>(), body["next_cursor"].as_str().map(str::to_owned))
    };

    let (first, cursor) = list("?limit=2").await;
    start(&door).await;
    let (second, _) = list(&format!("?limit=2&cursor={}", cursor.expect("a second page"))).await;

    assert_eq!(first, [runs[4].clone(), runs[3].clone()]);
    assert_eq!(second, [runs[2].clone(), runs[1].clone()]);
    assert_eq!(list("?requester=ada").await.0, [runs[2].clone()]);
    assert_eq!(list("?label=odd%3Dtrue").await.0, [runs[3].clone(), runs[1].clone()]);
    assert_eq!(list("?label=odd=true&label=n=3").await.0, [runs[3].clone()]);
    assert_eq!(list("?state=succeeded&agent=greeter").await.0, Vec::<Value>::new());
    assert_eq!(
        list("?created_before=2020-01-01T00:00:00Z").await.0,
        Vec::<Value>::new()
    );
    assert_eq!(
        list("?created_after=2020-01-01T00:00:00Z&state=queued").await.0.len(),
        6
    );
}

#[tokio::test]
async fn what_a_list_cannot_mean_is_refused() {
    let (_world, door) = world().await;
    for (query, code) in [
        ("?cursor=rubbish", "bad_cursor"),
        ("?cursor=", "bad_cursor"),
        ("?limit=0", "bad_parameter"),
        ("?limit=201", "bad_parameter"),
        ("?limit=many", "bad_parameter"),
        ("?state=sleeping", "bad_parameter"),
        ("?state=queued&state=running", "bad_parameter"),
        ("?label=odd", "bad_parameter"),
        ("?agent=%00", "bad_parameter"),
        ("?created_after=yesterday", "bad_parameter"),
        ("?stat=queued", "unknown_parameter"),
    ] {
        refused(&door.get(&format!("/v1/runs{query}")).await, 400, code);
    }
}

#[tokio::test]
async fn a_run_is_paused_resumed_and_cancelled_with_reasons() {
    let (_world, door) = world().await;
    let run = start(&door).await;
    let ask = async |verb: &str, reason: &str| {
        door.post(&format!("/v1/runs/{run}/{verb}"), &json!({ "reason": reason }))
            .await
    };

    let paused = ask("pause", "a look at the cause").await;
    let resumed = ask("resume", "found").await;
    let not_paused = ask("resume", "again").await;
    let positional = door.post(&format!("/v1/runs/{run}/pause"), &json!(["why"])).await;
    let cancelled = told(door.request(Method::POST, &format!("/v1/runs/{run}/cancel"))).await;
    let too_late = ask("pause", "too late").await;

    assert_eq!(paused.1["paused"]["reason"], "a look at the cause");
    assert_eq!(paused.1["paused"]["by"], "api");
    assert_eq!(paused.1["waits_for"], "somebody to resume it: it was paused by api");
    assert_eq!((resumed.0.as_u16(), &resumed.1["paused"]), (200, &Value::Null));
    refused(&not_paused, 409, "not_resumable");
    refused(&positional, 422, "invalid_body");
    assert_eq!(
        (cancelled.0.as_u16(), &cancelled.1["state"]),
        (200, &json!("cancelled"))
    );
    refused(&too_late, 409, "run_has_ended");
}

#[tokio::test]
async fn a_run_of_another_tenant_is_not_there() {
    let (world, door) = world().await;
    let other = HttpDoor::open_with(&world.database.url, |options| options.tenant = "other".into()).await;
    let run = start(&door).await;

    for path in ["", "/journal", "/transcript", "/events", "/signals", "/children"] {
        refused(&other.get(&format!("/v1/runs/{run}{path}")).await, 404, "no_such_run");
    }
    let signal = other
        .post(&format!("/v1/runs/{run}/signals"), &json!({"name": "go"}))
        .await;
    refused(&signal, 404, "no_such_run");
    for verb in ["cancel", "pause", "resume"] {
        refused(
            &other.post(&format!("/v1/runs/{run}/{verb}"), &json!({})).await,
            404,
            "no_such_run",
        );
    }
    assert_eq!(other.get("/v1/runs").await.1["runs"], json!([]));
    refused(&other.get("/v1/agents/greeter").await, 404, "no_such_agent");
    assert_eq!(door.get(&format!("/v1/runs/{run}")).await.1["state"], "queued");
}

/// Each body is refused so, and starts nothing.
async fn all_are_refused(refusals: &[(&str, u16, &str)]) {
    let (_world, door) = world().await;
    for (body, status, code) in refusals {
        let request = door
            .request(Method::POST, "/v1/runs")
            .header("Content-Type", "application/json");
        refused(&told(request.body((*body).to_owned())).await, *status, code);
    }
    assert_eq!(door.get("/v1/runs").await.1["runs"], json!([]), "nothing was started");
}

#[tokio::test]
async fn a_body_that_is_not_a_run_is_refused() {
    all_are_refused(&[
        (r#"{"agent": "nobody"}"#, 404, "no_such_agent"),
        (r#"{"agent": ""}"#, 422, "invalid_name"),
        (
            r#"["greeter", {"x": 1}, null, null, null, null, null, null, null, null]"#,
            422,
            "invalid_body",
        ),
        (r#"{"agent": "greeter", "agent": "greeter"}"#, 422, "invalid_body"),
        (r#"{"agent": "greeter", "due_at": "soon"}"#, 422, "invalid_body"),
        (r#"{"agent": "greeter", "colour": "red"}"#, 422, "unknown_field"),
        (r#"{"input": {}}"#, 422, "agent_missing"),
        (r#"{"agent": null, "workflow": null}"#, 422, "agent_missing"),
        (r#"{"agent": "greeter", "workflow": "greet"}"#, 422, "not_an_agent"),
        (r#"{"workflow": "greet", "history": []}"#, 422, "not_an_agent"),
        (r#"{"workflow": "Greet"}"#, 422, "invalid_kind"),
        (r#"{"workflow": "agent"}"#, 422, "invalid_kind"),
        (r#"{"workflow": ["greet"]}"#, 422, "invalid_body"),
        (r#"{"agent": 7}"#, 422, "invalid_body"),
        ("[]", 422, "invalid_body"),
        (r#"{"agent": "greeter""#, 400, "malformed_json"),
        ("", 400, "malformed_json"),
    ])
    .await;
}

#[tokio::test]
async fn a_refusal_of_a_batch_names_the_run_and_the_field() {
    let (_world, door) = world().await;
    let good = json!({"agent": "greeter"});
    for (run, code, detail) in [
        (
            json!([{"agent": "greeter"}]),
            "invalid_body",
            "runs[1]: the body: expected an object, found an array",
        ),
        (
            json!({"agent": 7}),
            "invalid_body",
            "runs[1]: agent: expected text, found 7",
        ),
        (
            json!({}),
            "agent_missing",
            "runs[1]: a run names its agent or its workflow",
        ),
        (
            json!({"agent": "greeter", "workflow": "greet"}),
            "not_an_agent",
            "runs[1]: a run is of an agent or of a workflow, and this one names both",
        ),
        (json!({"workflow": "greet", "history": []}), "not_an_agent", "runs[1]: "),
        (
            json!({"agent": "greeter", "priority": "high"}),
            "invalid_body",
            "runs[1]: priority: expected a whole number",
        ),
        (
            json!({"agent": "greeter", "due_at": "soon"}),
            "invalid_body",
            "runs[1]: due_at: expected an instant such as",
        ),
        (
            json!({"agent": "greeter", "colour": 1}),
            "unknown_field",
            "runs[1]: there is no field \"colour\" here",
        ),
        (
            json!({"agent": "greeter", "history": 1}),
            "invalid_history",
            "runs[1]: ",
        ),
    ] {
        let refusal = door.post("/v1/runs/batch", &json!({"runs": [good, run]})).await;
        refused(&refusal, 422, code);
        assert_eq!(refusal.1["item"], 1, "{}", refusal.1);
        let told = refusal.1["detail"].as_str().expect("text");
        assert!(
            told.starts_with(detail) && told.ends_with("; nothing was started"),
            "{told}"
        );
    }
    for body in [
        json!([[{"agent": "greeter"}]]),
        json!({"runs": {"agent": "greeter"}}),
        json!({"runs": null}),
    ] {
        let refusal = door.post("/v1/runs/batch", &body).await;
        refused(&refusal, 422, "invalid_body");
    }
    assert_eq!(door.get("/v1/runs").await.1["runs"], json!([]), "nothing was started");
}

#[tokio::test]
async fn a_start_takes_no_parameters() {
    let (_world, door) = world().await;
    let run = json!({"agent": "greeter"});

    let one = door.post("/v1/runs?dry=1", &run).await;
    let many = door.post("/v1/runs/batch?dry=1", &json!({ "runs": [run] })).await;

    refused(&one, 400, "unknown_parameter");
    refused(&many, 400, "unknown_parameter");
    assert_eq!(door.get("/v1/runs").await.1["runs"], json!([]), "nothing was started");
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_alike_everywhere() {
    let (_world, door) = world().await;

    let looked = door.get("/v1/agents/nobody").await;
    let started = door.post("/v1/runs", &json!({"agent": "nobody"})).await;

    refused(&looked, 404, "no_such_agent");
    refused(&started, 404, "no_such_agent");
    assert_eq!(looked.1["hint"], started.1["hint"]);
}

#[tokio::test]
async fn fields_that_do_not_fit_are_refused() {
    all_are_refused(&[
        (r#"{"agent": "greeter", "queue": ""}"#, 422, "invalid_name"),
        (r#"{"agent": "greeter", "requester": ""}"#, 422, "invalid_name"),
        (r#"{"agent": "gree\u0000ter"}"#, 422, "invalid_name"),
        (
            r#"{"agent": "greeter", "labels": {"a\u0000": "b"}}"#,
            422,
            "invalid_name",
        ),
        (r#"{"agent": "greeter", "labels": {"a": 1}}"#, 422, "invalid_body"),
        (r#"{"agent": "greeter", "priority": 1001}"#, 422, "invalid_priority"),
        (r#"{"agent": "greeter", "priority": 7.5}"#, 422, "invalid_body"),
        (r#"{"agent": "greeter", "idempotency_key": ""}"#, 422, "invalid_key"),
        (r#"{"agent": "greeter", "history": {}}"#, 422, "invalid_history"),
        (
            r#"{"agent": "greeter", "history": [{"role": "system", "content": ""}]}"#,
            422,
            "invalid_history",
        ),
    ])
    .await;
    let (_world, door) = world().await;
    let odd_key = door
        .request(Method::POST, "/v1/runs")
        .header("Idempotency-Key", "")
        .json(&json!({"agent": "greeter"}));
    refused(&told(odd_key).await, 400, "bad_header");
}

#[tokio::test]
async fn inputs_that_cannot_be_stored_are_refused() {
    let run = |input: String| format!(r#"{{"agent": "greeter", "input": {input}}}"#);
    let nested = |levels: usize| run(format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    all_are_refused(&[
        (&run(r#""\ud800""#.to_owned()), 422, "invalid_input"),
        (&run("1e99999".to_owned()), 422, "invalid_input"),
        (&nested(65), 413, "input_too_deep"),
        (&nested(10_000), 413, "body_too_deep"),
        (&run(format!("{:?}", "x".repeat(1024 * 1024))), 413, "input_too_large"),
    ])
    .await;
}

#[tokio::test]
async fn a_nul_in_an_input_is_replaced_and_told() {
    let (world, door) = world().await;
    let (_, started) = door
        .post("/v1/runs", &json!({"agent": "greeter", "input": "a\0b"}))
        .await;

    let (_, run) = door.get(&format!("/v1/runs/{}", id(&started))).await;

    assert_eq!(run["input"], "a\u{fffd}b");
    let events = world.engine.events(id(&started), 0, 1).await.expect("events");
    assert_eq!(events[0].data.as_ref().expect("data")["nul_replaced"], true);
}

#[tokio::test]
async fn an_id_that_is_none_is_refused() {
    let (_world, door) = world().await;

    refused(&door.get("/v1/runs/17").await, 400, "bad_id");
    refused(&door.get("/v1/runs/%ff").await, 400, "bad_id");
    refused(
        &door.get("/v1/runs/01a1f762b1747000a4f5d095ea2e20bd").await,
        400,
        "bad_id",
    );
    refused(
        &door.get("/v1/runs/01a1f762-b174-7000-a4f5-d095ea2e20bd").await,
        404,
        "no_such_run",
    );
    let _ = GREETER;
}
