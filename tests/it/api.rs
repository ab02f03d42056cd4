//! The HTTP door: what each route does, what it refuses, and streams that lose nothing.

mod agents;
mod approvals;
mod door;
mod events;
mod followers;
mod idle;
mod manual;
mod runs;
mod signals;
mod workflows;

use longhaul_tests::http_door::HttpDoor;
use longhaul_tests::world::World;
use rehearsal::Script;
use serde_json::{Value, json};

/// An agent that answers at once.
pub(crate) const GREETER: &str = r#"
name = "greeter"
system = "Greet."

[model]
name = "rehearsed"
max_tokens = 100
"#;

/// What its model says.
pub(crate) const GREETING: &str = r#"
[[rule]]
name = "greet"
answer.text = "Good day."
"#;

/// A world with the greeter, and a door to it.
pub(crate) async fn world() -> (World, HttpDoor) {
    let world = World::new(Script::from_toml(GREETING).expect("the script is right")).await;
    world.apply(GREETER).await;
    let door = HttpDoor::open(&world.database.url).await;
    (world, door)
}

/// Starts a run of the greeter through the door.
pub(crate) async fn start(door: &HttpDoor) -> engine::RunId {
    let (status, body) = door.post("/v1/runs", &json!({"agent": "greeter"})).await;
    assert_eq!(status, 201, "{body}");
    id(&body)
}

pub(crate) fn id(body: &Value) -> engine::RunId {
    body["id"].as_str().and_then(|id| id.parse().ok()).expect("a run's id")
}

pub(crate) fn refused(told: &(reqwest::StatusCode, Value), status: u16, code: &str) {
    assert_eq!(
        (told.0.as_u16(), told.1["code"].as_str()),
        (status, Some(code)),
        "{}",
        told.1
    );
    assert_eq!(told.1["status"], status);
    assert_eq!(told.1["type"], format!("/docs/errors/{code}"));
    assert!(
        told.1["title"]
            .as_str()
            .is_some_and(|title| !title.is_empty() && title != "Refused"),
        "{}",
        told.1
    );
    assert!(
        told.1["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
        "{}",
        told.1
    );
}
