use super::{agent, script};
use crate::plan::{Kind, Plan};
use rehearsal::Rehearsal;
use serde_json::{Value, json};
use std::path::Path;

/// What the model answers to a conversation that has just begun; the first attempts may meet trouble.
async fn first_answer(model: &Rehearsal, input: &str) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": input}],
        "tools": [],
    });
    for _ in 0..5 {
        let asked = client
            .post(format!("{}/v1/messages", model.base_url()))
            .header("x-api-key", "rehearsal")
            .header("anthropic-version", "2023-06-01")
            .json(&body);
        let Ok(response) = asked.send().await else { continue };
        if let Ok(answer) = response.json::<Value>().await
            && answer["type"] == "message"
        {
            return answer;
        }
    }
    panic!("the model does not answer to {input}");
}

#[tokio::test]
async fn the_model_asks_for_exactly_what_the_plan_says() {
    let plan = Plan::of(3);
    let model = Rehearsal::start(script::of(&plan)).await.unwrap();

    let runs = (0..30).map(|number| plan.run(number));
    for run in runs.filter(|run| run.kind == Kind::Agent) {
        let answer = first_answer(&model, &plan.input(&run)).await;
        let calls = answer["content"].as_array().unwrap().iter();
        let asked: Vec<(&str, &str)> = calls
            .filter(|block| block["type"] == "tool_use")
            .map(|call| {
                (
                    call["input"]["effect"].as_str().unwrap(),
                    call["name"].as_str().unwrap(),
                )
            })
            .collect();

        let effects = plan.effects(&run);
        let first = format!("r{}-t1-", run.number);
        let planned = effects.iter().filter(|(effect, _)| effect.starts_with(&first));
        let planned: Vec<(&str, String)> = planned.map(|(effect, call)| (effect.as_str(), call.tool())).collect();
        let planned: Vec<(&str, &str)> = planned.iter().map(|(effect, tool)| (*effect, tool.as_str())).collect();
        assert_eq!(asked, planned);
    }
}

#[test]
fn the_agent_has_each_tool_that_a_plan_may_call() {
    let text = agent::toml(Path::new("/somewhere/longhaul-storm"));
    let plan = Plan::of(5);
    for number in 0..200 {
        for (_, call) in plan.effects(&plan.run(number)) {
            assert!(text.contains(&format!("name = \"{}\"", call.tool())), "{call:?}");
        }
    }
}
