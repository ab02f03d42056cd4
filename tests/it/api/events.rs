//! Streams: every event once, whoever restarts in between, and no cost that grows with a follower who does not read.

use super::{GREETER, refused, start, world};
use engine::RunId;
use longhaul_tests::http_door::{EventReader, HttpDoor, StreamEvent, told};
use longhaul_tests::world::{PATIENCE, World};
use rehearsal::Script;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use worker::Functions;

/// Slow enough for something to happen in between.
const SLOW_GREETING: &str = r#"
[[rule]]
name = "greet slowly"
answer.text = "Good day."
answer.delay_between_events_ms = 150
"#;

/// The stream is the run's events from the given one on, then its end.
async fn is_whole(world: &World, run: RunId, after: i32, events: &[StreamEvent]) {
    let recorded = world.engine.events(run, after, 100_000).await.expect("events");
    let (end, told) = events.split_last().expect("a stream has an end");
    assert_eq!(end.kind, "end", "{events:#?}");
    let told: Vec<(Option<i32>, &str)> = told.iter().map(|event| (event.id, event.kind.as_str())).collect();
    let recorded: Vec<(Option<i32>, &str)> = recorded.iter().map(|row| (Some(row.seq), row.kind.as_str())).collect();
    assert_eq!(told, recorded);
}

async fn some(reader: &mut EventReader, count: usize) -> Vec<StreamEvent> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(reader.next().await.expect("the stream goes on"));
    }
    events
}

/// Appends events as a worker would, without a word to anybody; each has so many bytes.
pub(super) async fn append(world: &World, run: RunId, count: i32, bytes: i32) {
    let pool = world.database.pool().await;
    sqlx::query(
        "with counted as (
             update longhaul.run set event_seq = event_seq + $2 where id = $1 returning event_seq
         )
         insert into longhaul.event (run_id, seq, kind, fence, data)
         select $1, counted.event_seq - $2 + place, 'step.noted', 0, to_json(repeat('x', $3))
         from counted cross join generate_series(1, $2) as place",
    )
    .bind(run.0)
    .bind(count)
    .bind(bytes)
    .execute(&pool)
    .await
    .expect("events are appended");
}

#[tokio::test]
async fn a_stream_tells_every_event_as_it_happens_and_ends_with_the_run() {
    let (world, door) = world().await;
    let run = start(&door).await;
    let mut reader = door.follow(run, None).await;
    let mut events = some(&mut reader, 1).await;
    let worker = world.worker(world.config("worker A"), Functions::new());

    events.extend(reader.rest().await);

    is_whole(&world, run, 0, &events).await;
    assert_eq!(
        events.last().expect("an end").data,
        json!({"state": "succeeded", "seq": events.len() - 1})
    );
    let first = &events[0];
    assert_eq!(
        (first.kind.as_str(), first.data["seq"].as_i64()),
        ("run.started", Some(1))
    );
    assert_eq!(first.data["data"]["agent"], "greeter");
    let claimed = events
        .iter()
        .find(|event| event.kind == "run.claimed")
        .expect("a claim");
    assert_eq!(claimed.data["worker"], "worker A");
    worker.drain().await;
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_after_a_restart_of_the_door() {
    let world = World::new(Script::from_toml(SLOW_GREETING).expect("the script is right")).await;
    world.apply(GREETER).await;
    let first = HttpDoor::open(&world.database.url).await;
    let run = start(&first).await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    let mut reader = first.follow(run, None).await;
    let mut events = some(&mut reader, 2).await;
    first.stop().await;
    events.extend(reader.rest().await);

    let second = HttpDoor::open(&world.database.url).await;
    let last = events.last().and_then(|event| event.id);
    events.extend(second.follow(run, last).await.rest().await);

    is_whole(&world, run, 0, &events).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_stream_goes_on_over_the_death_of_a_worker() {
    let world = World::new(Script::from_toml(SLOW_GREETING).expect("the script is right")).await;
    world.apply(GREETER).await;
    let door = HttpDoor::open(&world.database.url).await;
    let run = start(&door).await;
    let doomed = world.worker(world.config("worker A"), Functions::new());
    let mut reader = door.follow(run, None).await;
    let mut events = some(&mut reader, 3).await;
    assert_eq!(events[2].kind, "step.started", "{events:#?}");
    doomed.vanish();

    let heir = world.worker(world.config("worker B"), Functions::new());
    events.extend(reader.rest().await);

    is_whole(&world, run, 0, &events).await;
    assert!(events.iter().any(|event| event.kind == "run.reclaimed"), "{events:#?}");
    heir.drain().await;
}

#[tokio::test]
async fn a_stream_works_where_nobody_announces_anything() {
    let (world, door) = world().await;
    let run = start(&door).await;
    let mut config = world.config("silent");
    config.notifications = false;
    let worker = world.worker(config, Functions::new());

    let events = door.follow(run, None).await.rest().await;

    is_whole(&world, run, 0, &events).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_stream_goes_on_over_lost_connections_to_the_database() {
    let (world, door) = world().await;
    let run = start(&door).await;
    let mut reader = door.follow(run, None).await;
    let mut events = some(&mut reader, 1).await;
    append(&world, run, 1, 1).await;
    events.extend(some(&mut reader, 1).await);
    let pool = world.database.pool().await;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = 'test api' and datname = current_database()",
    )
    .execute(&pool)
    .await
    .expect("connections are cut");

    let worker = world.worker(world.config("worker A"), Functions::new());
    events.extend(reader.rest().await);

    is_whole(&world, run, 0, &events).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_stream_begins_where_it_is_told_to() {
    let (world, door) = world().await;
    let run = start(&door).await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    world.settled(run).await;
    let last = i32::try_from(world.events(run).await.len()).expect("few events");
    let path = format!("/v1/runs/{run}/events");
    let get = |query: &str| door.request(Method::GET, &format!("{path}{query}"));

    let all = door.follow(run, None).await.rest().await;
    let some = door.follow(run, Some(2)).await.rest().await;
    let asked = EventReader::of(get("?after=2").send().await.expect("an answer"))
        .rest()
        .await;
    let over = EventReader::of(get(&format!("?after={last}")).send().await.expect("an answer"))
        .rest()
        .await;
    let come_back = get("").header("Last-Event-ID", last).send().await.expect("an answer");

    is_whole(&world, run, 0, &all).await;
    is_whole(&world, run, 2, &some).await;
    assert_eq!(asked, some);
    assert_eq!(over.len(), 1, "only the end: {over:#?}");
    assert_eq!(come_back.status(), 204, "browsers stop coming back");
    refused(&told(get(&format!("?after={}", last + 1))).await, 404, "no_such_event");
    refused(&told(get("?after=-1")).await, 400, "bad_parameter");
    refused(&told(get("").header("Last-Event-ID", "x")).await, 400, "bad_header");
    refused(&told(get("?until=2")).await, 400, "unknown_parameter");
    worker.drain().await;
}

#[tokio::test]
async fn a_follower_may_stay_when_the_run_has_ended() {
    let (world, door) = world().await;
    let run = start(&door).await;
    let path = format!("/v1/runs/{run}/events?follow=true");
    let mut reader = EventReader::of(door.request(Method::GET, &path).send().await.expect("an answer"));
    world.sql("update longhaul.run set state = 'failed', ended_at = now(), due_at = null, event_seq = 2 where id = $1 returning to_jsonb(1)", run).await;
    world.sql("insert into longhaul.event (run_id, seq, kind, fence) values ($1, 2, 'run.failed', 0) returning to_jsonb(1)", run).await;
    let before = some(&mut reader, 2).await;
    assert_eq!(before[1].kind, "run.failed");

    let (status, _) = door.post(&format!("/v1/runs/{run}/resume"), &json!({})).await;

    assert_eq!(status, 200);
    assert_eq!(reader.next().await.expect("it stays").kind, "run.resumed");
}

#[tokio::test]
async fn a_long_history_comes_whole_to_all_who_join_at_different_times() {
    let (world, door) = world().await;
    let run = start(&door).await;
    let mut readers = Vec::new();
    for round in 0..6 {
        append(&world, run, 150 + round, 10).await;
        readers.push((round, door.follow(run, Some(round * 100)).await));
    }
    world.engine.cancel_run(run, None, None).await.expect("the run ends");

    for (round, reader) in readers {
        let events = reader.rest().await;
        is_whole(&world, run, round * 100, &events).await;
        assert_eq!(events.last().expect("an end").data["state"], "cancelled");
    }
}

#[tokio::test]
async fn who_never_reads_is_cut_and_may_come_back() {
    let (world, _) = world().await;
    let door = HttpDoor::open_with(&world.database.url, |options| {
        options.limits.streams_max = 1;
        // Nobody who reads is that slow, on whatever machine.
        options.limits.stall_timeout = Duration::from_secs(2);
    })
    .await;
    let run = start(&door).await;
    let mut idle = TcpStream::connect(door.url.trim_start_matches("http://"))
        .await
        .expect("a connection");
    let request = format!(
        "GET /v1/runs/{run}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        longhaul_tests::http_door::TOKEN
    );
    idle.write_all(request.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    idle.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    let path = format!("/v1/runs/{run}/events");
    refused(&door.get(&path).await, 503, "too_many_streams");

    // More than the kernel takes for somebody who does not read.
    append(&world, run, 2_000, 16 * 1024).await;
    let freed = async {
        loop {
            let response = door
                .request(Method::GET, &path)
                .header("Last-Event-ID", "1")
                .send()
                .await
                .expect("an answer");
            if response.status() == 200 {
                return EventReader::of(response);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reader = tokio::time::timeout(PATIENCE, freed)
        .await
        .expect("the one who does not read is cut");
    world.engine.cancel_run(run, None, None).await.expect("the run ends");

    is_whole(&world, run, 1, &reader.rest().await).await;
    drop(idle);
}

#[tokio::test]
async fn who_reads_slowly_gets_everything() {
    let (world, door) = world().await;
    let run = start(&door).await;
    let mut reader = door.follow(run, None).await;
    let mut events = some(&mut reader, 1).await;
    // Many more than wait for one follower, and more than the kernel takes, while it does not read.
    for _ in 0..20 {
        append(&world, run, 100, 16 * 1024).await;
        world.engine.announce_events(&[run]).await.expect("announced");
    }
    world.engine.cancel_run(run, None, None).await.expect("the run ends");

    events.extend(reader.rest().await);

    is_whole(&world, run, 0, &events).await;
}

#[tokio::test]
async fn a_stop_ends_open_streams() {
    let (_world, door) = world().await;
    let run = start(&door).await;
    let mut reader = door.follow(run, None).await;
    some(&mut reader, 1).await;

    tokio::time::timeout(Duration::from_secs(4), door.stop())
        .await
        .expect("nobody's grace is used up");

    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive() {
    let (world, _) = world().await;
    let door = HttpDoor::open_with(&world.database.url, |options| {
        options.limits.keep_alive = Duration::from_millis(50);
    })
    .await;
    let run = start(&door).await;
    let response = door
        .request(Method::GET, &format!("/v1/runs/{run}/events"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut response = response;
    let mut text = String::new();
    while !text.contains("\n\n: ") {
        let piece = tokio::time::timeout(PATIENCE, response.chunk())
            .await
            .expect("in time")
            .expect("a piece");
        text.push_str(&String::from_utf8_lossy(&piece.expect("it goes on")));
    }

    assert!(text.starts_with("retry: 1000\n\n"), "{text}");
    let _: Value = Value::Null;
}
