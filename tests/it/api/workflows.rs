//! `/v1/runs` of workflows.

use super::{id, refused, world};
use longhaul_tests::http_door::told;
use reqwest::Method;
use serde_json::{Value, json};
use worker::{Context, WorkflowError};

#[tokio::test]
async fn a_workflow_is_started_by_its_name_once_per_key_and_its_run_says_of_what_it_is() {
    let (world, door) = world().await;
    let worker = world.worker_with(world.config("worker A"), |builder| {
        builder.workflow("greet", async |ctx: Context, name: String| {
            ctx.step("say", name, async |_, name| Ok(format!("Good day, {name}.")))
                .idempotent()
                .await
                .map_err(WorkflowError::from)
        })
    });
    let ask = |body: Value| {
        told(
            door.request(Method::POST, "/v1/runs")
                .header("Idempotency-Key", "greeting-1")
                .json(&body),
        )
    };

    let first = ask(json!({"workflow": "greet", "input": "Ada"})).await;
    let again = ask(json!({"workflow": "greet", "agent": null, "history": null, "input": "Ada"})).await;
    let of_an_agent = ask(json!({"agent": "greeter", "input": "Ada"})).await;

    assert_eq!((first.0.as_u16(), &first.1["created"]), (201, &json!(true)));
    assert_eq!((again.0.as_u16(), &again.1["created"]), (200, &json!(false)));
    assert_eq!(first.1["id"], again.1["id"]);
    refused(&of_an_agent, 409, "key_reused");
    let run = id(&first.1);
    world.settled(run).await;
    let (_, shown) = door.get(&format!("/v1/runs/{run}")).await;
    assert_eq!(shown["result"], "Good day, Ada.");
    let of = ["kind", "workflow", "agent", "agent_version"].map(|field| shown[field].clone());
    assert_eq!(of, [json!("greet"), json!("greet"), Value::Null, Value::Null]);
    let (_, journal) = door.get(&format!("/v1/runs/{run}/journal")).await;
    assert_eq!(journal["steps"][0]["identity"], "say#1");
    worker.drain().await;
}

#[tokio::test]
async fn a_batch_holds_runs_of_agents_and_of_workflows() {
    let (_world, door) = world().await;
    let runs = json!([{"workflow": "greet", "input": "Ada"}, {"agent": "greeter"}]);
    let (status, started) = door.post("/v1/runs/batch", &json!({ "runs": runs })).await;
    assert_eq!(status, 201, "{started}");

    let (_, list) = door.get("/v1/runs").await;
    let of = |run: usize| {
        let row = list["runs"].as_array().expect("runs").iter();
        let row = row.clone().find(|row| row["id"] == started["runs"][run]["id"]);
        let row = row.expect("it is listed");
        ["kind", "workflow", "agent"].map(|field| row[field].clone())
    };
    assert_eq!(of(0), [json!("greet"), json!("greet"), Value::Null]);
    assert_eq!(of(1), [json!("agent"), Value::Null, json!("greeter")]);

    let listed = async |query: &str| {
        let (_, body) = door.get(&format!("/v1/runs?{query}")).await;
        let rows = body["runs"].as_array().expect("runs").iter();
        rows.map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed("workflow=greet").await, [started["runs"][0]["id"].clone()]);
    assert_eq!(listed("agent=greeter").await, [started["runs"][1]["id"].clone()]);
    assert_eq!(listed("workflow=other").await, Vec::<Value>::new());
    assert_eq!(listed("workflow=greet&agent=greeter").await, Vec::<Value>::new());
    refused(&door.get("/v1/runs?workflow=agent").await, 400, "bad_parameter");

    let (_, shown) = door.get(&format!("/v1/runs/{}", id(&started["runs"][0]))).await;
    let waits_for =
        "a worker that can drive it: none that is alive takes from queue \"default\" and has workflow greet";
    assert_eq!(
        (&shown["drivable"], shown["waits_for"].as_str()),
        (&json!(false), Some(waits_for))
    );
}
