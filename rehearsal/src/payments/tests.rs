use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::client::{self, Reply};

const LIMIT: Duration = Duration::from_secs(10);
const BODY: &str = r#"{"order_id":"ORD-1007","amount_cents":4250,"reason":"arrived broken"}"#;
const OTHER_BODY: &str = r#"{"order_id":"ORD-1007","amount_cents":9900,"reason":"arrived broken"}"#;

struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self) -> PaymentsOptions {
        PaymentsOptions::new(self.folder.path().join("ledger.jsonl"))
    }

    fn file(&self) -> Vec<Record> {
        read_ledger(&self.options().ledger).unwrap()
    }
}

async fn refund(payments: &Payments, key: Option<&str>, body: &str) -> Reply {
    let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
    client::post(&format!("{}/refunds", payments.base_url()), &headers, body).await
}

fn applied(records: &[Record]) -> Vec<bool> {
    records.iter().map(|record| record.applied).collect()
}

#[tokio::test]
async fn a_refund_is_in_the_ledger_file_when_it_is_answered() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();
    let headers = [
        ("Idempotency-Key", "k1"),
        ("longhaul-worker", "w1"),
        ("longhaul-attempt", "2"),
    ];

    let reply = client::post(&format!("{}/refunds", payments.base_url()), &headers, BODY).await;

    let answer = json!({
        "refund_id": "RF-000001", "order_id": "ORD-1007", "amount_cents": 4250, "status": "refunded",
    });
    assert_eq!((reply.status, reply.json()), (200, answer));
    let records = world.file();
    let [record] = records.as_slice() else {
        panic!("one record: {records:?}")
    };
    assert_eq!(
        (record.arrival, record.applied, record.key.as_deref()),
        (1, true, Some("k1"))
    );
    assert_eq!(
        (record.worker.as_deref(), record.attempt.as_deref()),
        (Some("w1"), Some("2"))
    );
    assert_eq!((record.order_id.as_str(), record.amount_cents), ("ORD-1007", 4250));
    assert!(record.at.ends_with('Z'));
    assert_eq!(payments.ledger(), records);
}

#[tokio::test]
async fn a_repeated_key_is_answered_as_the_first_time_and_moves_no_money() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();

    let first = refund(&payments, Some("k1"), BODY).await;
    let again = refund(&payments, Some("k1"), BODY).await;

    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(applied(&world.file()), [true, false]);
}

#[tokio::test]
async fn a_repeated_key_with_another_body_is_turned_away() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();
    refund(&payments, Some("k1"), BODY).await;

    assert_eq!(refund(&payments, Some("k1"), OTHER_BODY).await.status, 422);
    assert_eq!(refund(&payments, Some("k1"), BODY).await.status, 200);

    assert_eq!(applied(&world.file()), [true, false, false]);
    assert_eq!(world.file()[1].refund_id, None);
}

#[tokio::test]
async fn without_a_key_every_arrival_moves_money() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();
    refund(&payments, None, BODY).await;
    refund(&payments, None, BODY).await;
    assert_eq!(applied(&world.file()), [true, true]);
}

#[tokio::test]
async fn a_service_that_does_not_honour_keys_moves_money_every_time() {
    let world = World::new();
    let payments = Payments::start(PaymentsOptions {
        honours_keys: false,
        ..world.options()
    })
    .await
    .unwrap();
    let first = refund(&payments, Some("k1"), BODY).await.json();
    let second = refund(&payments, Some("k1"), BODY).await.json();
    assert_ne!(first["refund_id"], second["refund_id"]);
    assert_eq!(applied(&world.file()), [true, true]);
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_was_made_and_is_found_by_its_key() {
    let world = World::new();
    let payments = Payments::start(PaymentsOptions {
        lost_order: Some("ORD-1007".to_owned()),
        ..world.options()
    })
    .await
    .unwrap();
    let find = async |key: &str| client::get(&format!("{}/refunds/{key}", payments.base_url())).await;

    assert_eq!(find("k1").await.status, 404);
    tokio::select! {
        _ = refund(&payments, Some("k1"), BODY) => panic!("it is answered"),
        arrived = tokio::time::timeout(LIMIT, payments.wait_for_arrivals(1)) => arrived.expect("it arrives"),
    }
    let found = find("k1").await;

    assert_eq!((found.status, &found.json()["refund_id"]), (200, &json!("RF-000001")));
    assert_eq!(applied(&world.file()), [true]);
}

#[tokio::test]
async fn what_is_no_refund_is_refused_and_not_in_the_ledger() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();
    for body in [
        "",
        "{}",
        r#"{"order_id":"ORD-1007","amount_cents":0}"#,
        r#"{"order_id":"x","amount_cents":1,"y":2}"#,
    ] {
        assert_eq!(refund(&payments, Some("k1"), body).await.status, 400, "{body}");
    }
    assert!(world.file().is_empty());
}

#[tokio::test]
async fn a_restarted_service_remembers_its_keys_and_goes_on_counting() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();
    let first = refund(&payments, Some("k1"), BODY).await;
    payments.stop().await;

    let payments = Payments::start(world.options()).await.unwrap();
    let again = refund(&payments, Some("k1"), BODY).await;
    let next = refund(&payments, Some("k2"), BODY).await;

    assert_eq!(again.body, first.body);
    assert_eq!(next.json()["refund_id"], "RF-000003");
    assert_eq!(applied(&world.file()), [true, false, true]);
}

#[tokio::test]
async fn a_torn_last_line_was_never_answered_and_is_dropped() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();
    refund(&payments, Some("k1"), BODY).await;
    payments.stop().await;
    let path = world.options().ledger;
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str(r#"{"arrival":2,"at":"20"#);
    text.push_str(&"x".repeat(2_000));
    std::fs::write(&path, text).unwrap();
    assert_eq!(world.file().len(), 1);

    let payments = Payments::start(world.options()).await.unwrap();
    refund(&payments, Some("k2"), BODY).await;

    assert_eq!(applied(&world.file()), [true, true]);
}

#[tokio::test]
async fn a_damaged_ledger_is_named_with_its_line() {
    let world = World::new();
    std::fs::write(world.options().ledger, "nonsense\n").unwrap();
    let error = Payments::start(world.options()).await.err().expect("should not start");
    assert!(matches!(error, PaymentsError::Damaged { line: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_held_answer_waits_for_its_release_while_the_money_has_moved() {
    let world = World::new();
    let payments = Payments::start(PaymentsOptions {
        hold: true,
        ..world.options()
    })
    .await
    .unwrap();
    let url = format!("{}/refunds", payments.base_url());
    let held = tokio::spawn(async move { client::post(&url, &[("idempotency-key", "k1")], BODY).await });
    tokio::time::timeout(LIMIT, payments.wait_for_arrivals(1))
        .await
        .expect("the refund should arrive");
    assert_eq!(applied(&world.file()), [true]);

    // The first arrival is held, a repeat of its key is not.
    let repeat = tokio::time::timeout(LIMIT, refund(&payments, Some("k1"), BODY))
        .await
        .expect("an answer at once");
    assert!(!held.is_finished());
    assert_eq!(
        client::post(&format!("{}/release", payments.base_url()), &[], "")
            .await
            .status,
        204
    );

    let held = tokio::time::timeout(LIMIT, held).await.expect("a release").unwrap();
    assert_eq!((held.status, held.body), (200, repeat.body));
    assert_eq!(applied(&world.file()), [true, false]);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_undo_its_refund() {
    let world = World::new();
    let delay = Duration::from_secs(3600);
    let options = PaymentsOptions {
        delay,
        delay_arrivals: Some(1),
        ..world.options()
    };
    let payments = Payments::start(options).await.unwrap();
    let url = format!("{}/refunds", payments.base_url());

    let connection = client::send(&url, &[("idempotency-key", "k1")], BODY).await;
    tokio::time::timeout(LIMIT, payments.wait_for_arrivals(1))
        .await
        .expect("the refund should arrive");
    drop(connection);
    let again = tokio::time::timeout(LIMIT, refund(&payments, Some("k1"), BODY))
        .await
        .expect("no delay");
    let other = tokio::time::timeout(LIMIT, refund(&payments, Some("k2"), BODY))
        .await
        .expect("no delay");

    assert_eq!(
        (again.json()["refund_id"].clone(), other.status),
        (json!("RF-000001"), 200)
    );
    assert_eq!(applied(&world.file()), [true, false, true]);
}

#[tokio::test]
async fn a_hold_with_a_delay_ends_by_itself() {
    let world = World::new();
    let options = PaymentsOptions {
        hold: true,
        delay: Duration::from_millis(1),
        ..world.options()
    };
    let payments = Payments::start(options).await.unwrap();
    let reply = tokio::time::timeout(LIMIT, refund(&payments, Some("k1"), BODY))
        .await
        .expect("an answer");
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn one_key_that_arrives_many_times_at_once_moves_money_once() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();
    let replies = futures_util::future::join_all((0..16).map(|_| refund(&payments, Some("k1"), BODY))).await;
    assert!(replies.iter().all(|reply| reply.body == replies[0].body));
    assert_eq!(applied(&world.file()).iter().filter(|applied| **applied).count(), 1);
}

#[tokio::test]
async fn the_ledger_and_the_health_are_shown() {
    let world = World::new();
    let payments = Payments::start(world.options()).await.unwrap();
    refund(&payments, Some("k1"), BODY).await;
    let shown = client::get(&format!("{}/ledger", payments.base_url())).await;
    assert_eq!(
        serde_json::from_str::<Vec<Record>>(&shown.body).unwrap(),
        payments.ledger()
    );
    assert_eq!(
        client::get(&format!("{}/healthz", payments.base_url())).await.status,
        200
    );
}
