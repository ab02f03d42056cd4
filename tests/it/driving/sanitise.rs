//! What a tool is asked and what it says, changed by its rules.

use super::{Bench, agent, calling, function, request, results};
use longhaul_tests::world::World;
use serde_json::{Value, json};

#[tokio::test]
async fn what_a_tool_is_asked_and_says_is_changed_before_it_is_stored_or_shown() {
    let world = World::new(calling([("note", json!({"text": "  pay with 4111111111111111\n"}))])).await;
    let rules = r#"
[tool.sanitise]
input = [{ trim = true }]
output = [{ replace = '\b\d{16}\b', with = "[card]" }]
"#;
    world
        .apply(&agent(&format!("{}{rules}", function("note", "at_most_once"))))
        .await;
    let bench = Bench::new();
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), bench.functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    assert_eq!(
        bench.words(),
        ["pay with 4111111111111111"],
        "trimmed, and nothing else"
    );
    assert_eq!(
        results(&request(&world, 1)),
        [("noted pay with [card]".to_owned(), false)]
    );
    let step = world
        .sql(
            "select jsonb_build_object('request', request::text, 'digest', encode(request_digest, 'hex'), 'result', result::text,
                 'evidence', evidence::text, 'sent', encode(sha256(convert_to(request::text, 'UTF8')), 'hex'))
             from longhaul.step where run_id = $1 and kind = 'tool'",
            run,
        )
        .await;
    let said = format!("{}{}", step["result"], step["evidence"]);
    assert!(!said.contains("4111"), "{said}");
    let sent: Value = serde_json::from_str(step["request"].as_str().unwrap()).unwrap();
    assert_eq!(sent["input"], r#"{"text":"pay with 4111111111111111"}"#);
    assert_eq!(step["digest"], step["sent"], "the digest is of what was sent");
    worker.drain().await;
}
