//! What auditors read is what happened: the transcript tells the conversation that the model was really shown.

use crate::driving::{Bench, Words, agent, answering, function, request};
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use engine::{RunId, StartRun};
use longhaul_tests::http_door::HttpDoor;
use longhaul_tests::world::World;
use rehearsal::{Answer, Rule, Script};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use worker::Functions;

/// One piece of a conversation, told the same way whichever side tells it.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    role: String,
    text: String,
    is_error: bool,
}

fn piece(role: &str, text: &str, is_error: bool) -> Piece {
    Piece {
        role: role.to_owned(),
        text: text.to_owned(),
        is_error,
    }
}

/// The pieces of a request's messages: a tool result is a piece of its own, other blocks of a message are one.
fn asked_pieces(body: &Value) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for message in body["messages"].as_array().expect("messages") {
        let role = message["role"].as_str().expect("a role");
        let Some(blocks) = message["content"].as_array() else {
            pieces.push(piece(role, message["content"].as_str().expect("a text"), false));
            continue;
        };
        let mut words = Vec::new();
        for block in blocks {
            match block["type"].as_str().expect("a type") {
                "tool_result" => {
                    let content = block["content"].as_str().expect("a text");
                    pieces.push(piece("tool", content, block["is_error"] == true));
                }
                "text" => words.push(block["text"].as_str().expect("a text").to_owned()),
                "tool_use" => words.push(format!(
                    "[calls {} {}]",
                    block["name"].as_str().expect("a name"),
                    block["input"]
                )),
                other => words.push(format!("[{other}]")),
            }
        }
        if !words.is_empty() {
            pieces.push(piece(role, &words.join("\n"), false));
        }
    }
    pieces
}

/// The pieces of the view. Inputs of calls are shown as `jsonb` writes them, so they are read and written once more.
async fn told_pieces(world: &World, run: RunId) -> Vec<Piece> {
    let transcript = world.engine.transcript(run).await.expect("a transcript");
    for (message, position) in transcript.iter().zip(1..) {
        assert_eq!(message.position, position);
    }
    transcript
        .iter()
        .map(|message| {
            let text = message.text.clone().unwrap_or_default();
            let lines: Vec<String> = text.split('\n').map(same_json).collect();
            piece(&message.role, &lines.join("\n"), message.is_error)
        })
        .collect()
}

fn same_json(line: &str) -> String {
    let called = line.strip_prefix("[calls ").and_then(|rest| rest.strip_suffix(']'));
    match called.and_then(|called| called.split_once(' ')) {
        Some((name, input)) => {
            let input: Value = serde_json::from_str(input).expect("an input is JSON");
            format!("[calls {name} {input}]")
        }
        None => line.to_owned(),
    }
}

#[tokio::test]
async fn the_transcript_tells_what_the_model_was_really_asked() {
    let script = Script::new()
        .rule(
            Rule::on_turn(2).answers(
                Answer::text("Let me see.")
                    .thinking("which first?")
                    .call("note", json!({"text": "one"}))
                    .call("note", json!({"wrong": true}))
                    .call("forget", json!({}))
                    .call("note", json!({"text": "four"})),
            ),
        )
        .rule(Rule::on_turn(3).answers(Answer::calling("note", json!({"text": "five"}))))
        .rule(Rule::always().answers(Answer::text("All is done.")));
    let world = World::new(script).await;
    world.apply(&agent(&function("note", "at_most_once"))).await;
    let mut start = StartRun::new("helper", json!({"order": 7, "why": "broken"}).to_string());
    start.history =
        Some(json!([{"role": "user", "content": "earlier"}, {"role": "assistant", "content": "noted"}]).to_string());
    let run = world.engine.start_run(&start).await.unwrap().run;
    let worker = world.worker(world.config("worker A"), Bench::new().functions());

    assert_eq!(world.settled(run).await.state, "succeeded");

    let told = told_pieces(&world, run).await;
    let (answer, before) = told.split_last().unwrap();
    assert_eq!(before, asked_pieces(&request(&world, 2)));
    assert_eq!(answer, &piece("assistant", "All is done.", false));
    let roles: Vec<&str> = told.iter().map(|piece| piece.role.as_str()).collect();
    assert_eq!(
        roles,
        [
            "user",
            "assistant",
            "user",
            "assistant",
            "tool",
            "tool",
            "tool",
            "tool",
            "assistant",
            "tool",
            "assistant"
        ]
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_call_that_was_made_anew_is_told_once() {
    let script = Script::new()
        .rule(Rule::on_turn(1).answers(Answer::calling("note", json!({"text": "one"}))))
        .rule(Rule::always().answers(Answer::text("All is done.")));
    let world = World::new(script).await;
    let file = agent(
        &function("burst", "read_only").replace("kind = \"function\"", "kind = \"function\"\non_error = \"fail_run\""),
    )
    .replace("name = \"burst\"", "name = \"note\"")
    .replace("kind = \"function\"", "kind = \"function\"\nfunction = \"burst\"");
    world.apply(&file).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Bench::new().functions());
    assert_eq!(world.settled(run).await.state, "failed");
    worker.drain().await;

    // The same function, mended in another release of the worker's program.
    let mut mended = Functions::new();
    mended.register("burst", |_, words: Words| async move { Ok(words.text) });
    world.engine.resume_run(run, None, None).await.unwrap();
    let worker = world.worker(world.config("worker B"), mended);
    let ended = world.until(run, "the run ends", |run| run.ended_at.is_some()).await;

    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    let told = told_pieces(&world, run).await;
    assert_eq!(told[..3], asked_pieces(&request(&world, 1)));
    assert_eq!(told[2], piece("tool", "one", false));
    worker.drain().await;
}

/// Content as no sound program would send it.
const ODD: [&str; 3] = [
    r#"{"type":"text","text":"a\u0000b"}"#,
    r#"{"type":"from_the_future","b":1.50,"a":[1e2,"\u0000\u00e9"],  "z":{}}"#,
    r#"{"type":"text","text":"\ud83d\ude00 é"}"#,
];

async fn odd_run(stream: bool) -> (World, RunId) {
    let turn = ODD
        .iter()
        .fold(Answer::text("odd"), |answer, block| answer.raw(*block))
        .call("note", json!({"text": "nul \u{0} here"}));
    let script = Script::new()
        .rule(Rule::on_turn(1).answers(turn))
        .rule(Rule::always().answers(Answer::text("done \u{0} done")));
    let world = World::new(script).await;
    let file = agent(&function("note", "idempotent"));
    let file = file.replace("max_tokens = 256", &format!("max_tokens = 256\nstream = {stream}"));
    world.apply(&file).await;
    let run = world.start("helper", &json!("hello")).await;
    let worker = world.worker(world.config("worker A"), Bench::new().functions());
    let ended = world.settled(run).await;
    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    worker.drain().await;
    (world, run)
}

#[tokio::test]
async fn odd_content_is_stored_as_it_came_goes_back_byte_for_byte_and_breaks_no_view() {
    for stream in [true, false] {
        let (world, run) = odd_run(stream).await;

        let pool = world.database.pool().await;
        let stored: String = sqlx::query_scalar("select result::text from longhaul.step where run_id = $1 and seq = 1")
            .bind(run.0)
            .fetch_one(&pool)
            .await
            .unwrap();
        let sent_back = &world.rehearsal.asked()[1].body;
        for block in ODD {
            assert!(stored.contains(block), "{block} is not in {stored}");
            assert!(sent_back.contains(block), "{block} is not in {sent_back}");
        }
        every_view_answers(&world, run).await;
        let told = told_pieces(&world, run).await;
        assert_eq!(told[1].text.split('\n').next(), Some("odd"));
        assert!(told[1].text.contains("a\u{fffd}b") && told[1].text.contains("[from_the_future]"));
        assert_eq!(told.last().unwrap().text, "done \u{fffd} done");
    }
}

#[tokio::test]
async fn half_a_surrogate_in_the_answer_is_kept_and_shown_replaced() {
    let odd = r#"{"type":"text","text":"half \ud800 of a pair"}"#;
    let reply = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","stop_reason":"end_turn",
            "usage":{{"input_tokens":1,"output_tokens":1}},"content":[{{"type":"text","text":"before"}},{odd}]}}"#
    );
    // The rehearsal refuses to say this, so a model of the test's own does.
    let answer = async move || ([(CONTENT_TYPE, "application/json")], reply);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let model = axum::Router::new().route("/v1/messages", post(answer));
    let served = tokio::spawn(async move { axum::serve(listener, model).await });
    let world = World::new(answering()).await;
    world
        .apply(&agent("").replace("max_tokens = 256", "max_tokens = 256\nstream = false"))
        .await;
    let run = world.start("helper", &json!("hello")).await;
    let mut config = world.config("worker A");
    config.endpoint.base_url = base_url;
    let worker = world.worker(config, Functions::new());

    let ended = world.settled(run).await;

    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    let pool = world.database.pool().await;
    let stored: String = sqlx::query_scalar("select result::text from longhaul.step where run_id = $1")
        .bind(run.0)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(stored.contains(odd), "{stored}");
    every_view_answers(&world, run).await;
    let told = told_pieces(&world, run).await;
    assert_eq!(told[1].text, "before\nhalf \u{fffd} of a pair");
    worker.drain().await;
    served.abort();
}

/// A model of the test's own, which says what the rehearsal refuses to: two calls that no [`Value`] can hold, and then an
/// answer. Returns its address.
async fn extreme_model() -> String {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let said = async move |body: String| {
        let content = if body.contains("toolu_1") {
            r#"{"type":"text","text":"All is done."}"#.to_owned()
        } else {
            format!(
                r#"{{"type":"tool_use","id":"toolu_1","name":"note","input":{{"text":1e400}}}},
                {{"type":"tool_use","id":"toolu_2","name":"note","input":{{"text":{deep}}}}}"#
            )
        };
        let reply = format!(
            r#"{{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","stop_reason":"end_turn",
                "usage":{{"input_tokens":1,"output_tokens":1}},"content":[{content}]}}"#
        );
        ([(CONTENT_TYPE, "application/json")], reply)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let model = axum::Router::new().route("/v1/messages", post(said));
    tokio::spawn(async move { axum::serve(listener, model).await });
    base_url
}

#[tokio::test]
async fn a_run_whose_payloads_no_parser_holds_goes_on_and_stays_readable() {
    let world = World::new(answering()).await;
    let file = agent(&function("note", "idempotent"));
    world
        .apply(&file.replace("max_tokens = 256", "max_tokens = 256\nstream = false"))
        .await;
    let mut start = StartRun::new("helper", r#"{"n":1e400}"#.to_owned());
    let history = r#"[{"role":"user","content":"hm"},
        {"role":"assistant","content":[{"type":"tool_use","id":"toolu_0","name":"note","input":{"text":1e400}}]}]"#;
    start.history = Some(history.to_owned());
    let run = world.engine.start_run(&start).await.unwrap().run;
    let mut config = world.config("worker A");
    config.endpoint.base_url = extreme_model().await;
    let bench = Bench::new();
    let worker = world.worker(config, bench.functions());

    let ended = world.settled(run).await;

    assert_eq!(ended.state, "succeeded", "{ended:#?}");
    assert!(bench.ledger().is_empty(), "an invalid input goes back to the model");
    every_view_answers(&world, run).await;
    let journal = world.engine.journal(run).await.unwrap();
    let Some(Value::String(reply)) = journal[0].result.as_ref().map(|shown| &shown.0) else {
        panic!("{journal:#?}");
    };
    // The view's jsonb writes numbers out.
    assert!(reply.contains(&format!("1{}", "0".repeat(400))) && reply.contains(&"[".repeat(5_000)));
    assert!(world.engine.transcript(run).await.unwrap().len() >= 5);
    let door = HttpDoor::open(&world.database.url).await;
    for path in ["", "/journal", "/transcript"] {
        let request = door.request(reqwest::Method::GET, &format!("/v1/runs/{run}{path}"));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    worker.drain().await;
    door.stop().await;
}

async fn every_view_answers(world: &World, run: RunId) {
    for view in [
        "select count(to_jsonb(run)) from longhaul_audit.run where run_id = $1",
        "select count(to_jsonb(step)) from longhaul_audit.step where run_id = $1",
        "select count(to_jsonb(attempt)) from longhaul_audit.attempt where run_id = $1",
        "select count(to_jsonb(event)) from longhaul_audit.event where run_id = $1",
        "select count(to_jsonb(transcript)) from longhaul_audit.transcript where run_id = $1",
    ] {
        let pool = world.database.pool().await;
        let rows: i64 = sqlx::query_scalar(view).bind(run.0).fetch_one(&pool).await.unwrap();
        assert!(rows > 0, "{view}");
    }
    world.engine.journal(run).await.unwrap();
    world.engine.run_detail(run).await.unwrap();
    world.events(run).await;
}
