mod world;

use super::behaviour::{Answer, Asked, Behaviour, Deed, Manner, Then, Told, draw};
use crate::record::{Declared, Front, LedgerRecord, read};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{End, Heard, World, accounts, whole};

const SEED: u64 = 7;

fn asked(effect: &str, front: Front, declared: Declared) -> Asked {
    Asked {
        effect: effect.to_owned(),
        front,
        declared,
    }
}

/// An effect that is treated like this when it is first asked for.
fn treated(front: Front, declared: Declared, how: impl Fn(&Behaviour) -> bool) -> Asked {
    (0..100_000)
        .map(|number| asked(&format!("e{number}"), front, declared))
        .find(|asked| how(&draw(SEED, asked, 0)))
        .expect("no effect is treated like this")
}

fn named(name: &str, front: Front) -> Asked {
    treated(front, Declared::Idempotent, |behaviour| behaviour.name == name)
}

#[test]
fn how_an_arrival_is_treated_follows_from_the_seed_the_effect_and_the_count() {
    let effects: Vec<Asked> = (0..200)
        .map(|number| asked(&format!("r{number}-t1-c0"), Front::Http, Declared::Idempotent))
        .collect();
    let all =
        |seed: u64, before: u64| -> Vec<Behaviour> { effects.iter().map(|asked| draw(seed, asked, before)).collect() };

    assert_eq!(all(1, 0), all(1, 0));
    assert_ne!(all(1, 0), all(2, 0));
    assert_ne!(all(1, 0), all(1, 1));
}

#[test]
fn six_of_ten_arrivals_fare_well_and_more_of_those_that_may_not_be_repeated_and_the_fifth_always() {
    let good = |front: Front, declared: Declared, before: u64| {
        (0..10_000)
            .map(|number| asked(&format!("r{number}-t2-c1"), front, declared))
            // What is refused for ever is beside these.
            .filter(|asked| matches!(draw(SEED, asked, before).name, "good" | "hopeless"))
            .count()
    };
    for front in Front::ALL {
        for declared in Declared::ALL {
            let counts: Vec<usize> = (0..5).map(|before| good(front, declared, before)).collect();
            let expected = if declared == Declared::AtMostOnce { 7500 } else { 6000 };
            assert!(counts[0].abs_diff(expected) < 300, "{front:?} {declared:?} {counts:?}");
            assert!(counts[1].abs_diff(expected) < 300, "{front:?} {declared:?} {counts:?}");
            assert!(counts[2] > counts[1] && counts[3] > counts[2], "{counts:?}");
            assert_eq!(counts[4], 10_000);
        }
    }
}

#[test]
fn every_misbehaviour_of_a_front_occurs() {
    let names = |front: Front| -> BTreeSet<&str> {
        (0..2000)
            .map(|number| draw(SEED, &asked(&format!("e{number}"), front, Declared::ReadOnly), 0).name)
            .collect()
    };

    let http = [
        "away",
        "away_with_pause",
        "behind",
        "doubled",
        "drip",
        "error_after",
        "given_up",
        "good",
        "hopeless",
        "late",
        "limited",
        "limited_with_pause",
        "reset",
        "truncated",
        "unanswered",
    ];
    assert_eq!(names(Front::Http), http.into());
    assert_eq!(names(Front::Command).len(), 11);
    assert_eq!(names(Front::Function).len(), 9);
}

#[tokio::test]
async fn a_good_call_is_written_down_and_applied_and_answered_and_the_connection_stays() {
    let world = World::new().await;
    let good = named("good", Front::Http);
    let mut caller = world.caller().await;

    caller.ask(&good, "key-1").await;
    let heard = caller.hear().await;
    assert_eq!((heard.status(), &heard.end), (200, &End::Reply));
    assert_eq!(heard.body(), format!(r#"{{"effect":"{}","receipt":1}}"#, good.effect));

    caller.ask(&good, "key-2").await;
    caller.hear().await;
    let accounts = world.account(2).await;
    let first = &accounts[&1];
    assert_eq!(first.ended(), (true, "200", true));
    assert_eq!(first.conduct, "good");
    assert_eq!(first.worker.as_deref(), Some("storm-1-2"));
    assert_eq!(first.attempt, Some(3));
}

#[tokio::test]
async fn who_asks_about_a_key_is_told_what_has_become_of_it() {
    let world = World::new().await;
    let mut caller = world.caller().await;
    caller.look("key-1").await;
    assert_eq!(caller.hear().await.body(), r#"{"happened":false}"#);

    let good = named("good", Front::Http);
    caller.ask(&good, "key-1").await;
    caller.hear().await;

    caller.look("key-1").await;
    let told = format!(r#"{{"effect":"{}","happened":true,"receipt":1}}"#, good.effect);
    assert_eq!(caller.hear().await.body(), told);
    let looked = |record: &LedgerRecord| match record {
        LedgerRecord::Looked { key, found, .. } => Some((key.clone(), *found)),
        LedgerRecord::Arrival { .. } | LedgerRecord::Applied { .. } | LedgerRecord::Reply { .. } => None,
    };
    let looked: Vec<_> = world.so_far().iter().filter_map(looked).collect();
    assert_eq!(looked, [("key-1".to_owned(), None), ("key-1".to_owned(), Some(1))]);
}

#[tokio::test]
async fn a_call_that_got_no_answer_may_be_applied_behind_its_callers_back() {
    let world = World::new().await;
    let mut caller = world.caller().await;

    caller.ask(&named("behind", Front::Http), "key").await;

    let heard = caller.hear().await;
    assert_eq!((heard.bytes.len(), heard.end), (0, End::Closed));
    let applied = |record: &LedgerRecord| matches!(record, LedgerRecord::Applied { .. });
    world.until("it is applied", applied).await;
}

#[tokio::test]
async fn arrival_and_effect_are_on_the_disk_before_the_answer_is_there() {
    let world = World::new().await;
    let mut caller = world.caller().await;

    caller.ask(&named("good", Front::Http), "key").await;
    caller.hear().await;

    let records = world.so_far();
    assert!(
        matches!(
            records[..2],
            [LedgerRecord::Arrival { .. }, LedgerRecord::Applied { .. }]
        ),
        "{records:?}"
    );
}

#[tokio::test]
async fn a_call_can_be_applied_and_stay_without_an_answer() {
    let (account, heard) = World::new().await.one(&named("unanswered", Front::Http)).await;

    assert_eq!((heard.bytes.len(), heard.end), (0, End::Closed));
    assert_eq!(account.ended(), (true, "nothing", false));
}

#[tokio::test]
async fn a_call_can_be_applied_and_be_answered_with_an_error() {
    let (account, heard) = World::new().await.one(&named("error_after", Front::Http)).await;

    assert_eq!(heard.status(), 500);
    assert_eq!(account.ended(), (true, "500", false));
}

#[tokio::test]
async fn a_call_can_be_turned_away_with_and_without_a_pause() {
    for (name, status, pause) in [
        ("limited", 429, false),
        ("limited_with_pause", 429, true),
        ("away", 503, false),
        ("away_with_pause", 503, true),
    ] {
        let (account, heard) = World::new().await.one(&named(name, Front::Http)).await;

        assert_eq!(heard.status(), status, "{name}");
        assert_eq!(heard.text().contains("\r\nretry-after: 1\r\n"), pause, "{name}");
        assert_eq!(account.ended(), (false, status.to_string().as_str(), false), "{name}");
    }
}

#[tokio::test]
async fn a_call_can_be_applied_late_and_is_then_answered_well() {
    let (account, heard) = World::new().await.one(&named("late", Front::Http)).await;

    assert_eq!(heard.receipt(), 1);
    let gap = account.applied.unwrap() - account.at;
    assert!((200_000..5_000_000).contains(&gap), "{gap}");
    assert_eq!(account.ended(), (true, "200", true));
}

#[tokio::test]
async fn a_late_call_is_applied_though_its_caller_has_hung_up() {
    let world = World::new().await;
    let mut caller = world.caller().await;

    caller.ask(&named("late", Front::Http), "key").await;
    world
        .until("its arrival", |record| matches!(record, LedgerRecord::Arrival { .. }))
        .await;
    drop(caller);

    let account = world.account(1).await.remove(&1).unwrap();
    assert_eq!(account.ended(), (true, "200", false));
}

#[tokio::test]
async fn a_call_can_be_applied_only_after_its_caller_gave_up() {
    let world = World::new().await;
    let mut caller = world.caller().await;

    caller.ask(&named("given_up", Front::Http), "key").await;
    world
        .until("its arrival", |record| matches!(record, LedgerRecord::Arrival { .. }))
        .await;
    assert_eq!(world.so_far().len(), 1, "nothing happens while the caller waits");
    drop(caller);

    let account = world.account(1).await.remove(&1).unwrap();
    assert_eq!(account.ended(), (true, "nothing", false));
}

#[tokio::test]
async fn a_caller_that_does_not_give_up_gets_nothing_either() {
    let (account, heard) = World::new().await.one(&named("given_up", Front::Http)).await;

    assert_eq!((heard.bytes.len(), heard.end), (0, End::Closed));
    assert!(account.applied.unwrap() - account.at >= 3_000_000);
    assert_eq!(account.ended(), (true, "nothing", false));
}

fn drips(bytes: std::ops::RangeInclusive<usize>) -> Asked {
    treated(
        Front::Http,
        Declared::Idempotent,
        |behaviour| matches!(behaviour.answer, Answer::Receipt(Manner::Drip { bytes: few }) if bytes.contains(&few)),
    )
}

#[tokio::test]
async fn a_good_answer_can_come_a_few_bytes_at_a_time() {
    let (account, heard) = World::new().await.one(&drips(7..=8)).await;

    assert_eq!(heard.receipt(), 1);
    assert_eq!(account.ended(), (true, "drip", true));
}

#[tokio::test]
async fn a_caller_that_gives_up_on_a_drip_has_not_been_answered() {
    let world = World::new().await;
    let mut caller = world.caller().await;

    caller.ask(&drips(1..=2), "key").await;
    caller.0.read_u8().await.unwrap();
    drop(caller);

    let account = world.account(1).await.remove(&1).unwrap();
    assert_eq!(account.ended(), (true, "drip", false));
}

#[tokio::test]
async fn a_connection_can_be_reset_within_the_answer() {
    let late_in_it = treated(Front::Http, Declared::Idempotent, |behaviour| {
        matches!(behaviour.answer, Answer::Receipt(Manner::Reset { percent: 50.. }))
    });
    let (account, heard) = World::new().await.one(&late_in_it).await;

    assert_eq!(heard.end, End::Reset);
    assert!(heard.text().starts_with("HTTP/1.1 200 "), "{heard:?}");
    assert_eq!(account.ended(), (true, "reset", false));
}

#[tokio::test]
async fn an_answer_can_be_shorter_than_it_says() {
    let (account, heard) = World::new().await.one(&named("truncated", Front::Http)).await;

    assert_eq!(heard.end, End::Closed);
    assert!(heard.bytes.len() < whole(&heard.bytes).unwrap(), "{heard:?}");
    assert_eq!(account.ended(), (true, "truncated", false));
}

#[tokio::test]
async fn an_answer_can_come_twice() {
    let (account, heard) = World::new().await.one(&named("doubled", Front::Http)).await;

    let (first, second) = heard.text().split_at(heard.bytes.len() / 2);
    assert_eq!(first, second);
    assert_eq!(account.ended(), (true, "doubled", true));
}

#[tokio::test]
async fn programs_and_functions_are_told_how_to_end() {
    let exit = |code| Then::Exit { code };
    for (name, front, then, applied, delivered) in [
        ("good", Front::Command, Then::Well, true, true),
        ("garbage_after", Front::Command, Then::Garbage, true, true),
        ("exit_1_after", Front::Command, exit(1), true, false),
        ("exit_10_instead", Front::Command, exit(10), false, false),
        ("exit_75_instead", Front::Command, exit(75), false, false),
        ("kill_after", Front::Command, Then::Kill, true, false),
        ("hang_after", Front::Command, Then::Hang, true, false),
        ("good", Front::Function, Then::Well, true, true),
        ("transient_after", Front::Function, Then::Transient, true, false),
        ("not_applied_instead", Front::Function, Then::NotApplied, false, false),
        ("panic_after", Front::Function, Then::Panic, true, false),
        ("hang_after", Front::Function, Then::Hang, true, false),
    ] {
        let call = named(name, front);
        let (account, heard) = World::new().await.one(&call).await;

        assert_eq!(heard.status(), 200, "{name}");
        let told: Told = serde_json::from_str(heard.body()).unwrap();
        assert_eq!(told.then, then);
        assert_eq!(told.result.contains(&call.effect), applied, "{name}: {told:?}");
        assert_eq!(
            (account.applied.is_some(), account.delivered),
            (applied, delivered),
            "{name}"
        );
    }
}

#[tokio::test]
async fn arrivals_of_a_key_that_race_are_applied_once_and_answered_alike() {
    let world = World::new().await;
    let call = asked("r1-t1-c0", Front::Http, Declared::Idempotent);

    let heard = join_all((0..40).map(|_| async {
        let mut caller = world.caller().await;
        caller.ask(&call, "key").await;
        caller.hear().await
    }))
    .await;

    let accounts = world.account(40).await;
    let applied: Vec<u64> = accounts
        .iter()
        .filter(|(_, account)| account.applied.is_some())
        .map(|(arrival, _)| *arrival)
        .collect();
    assert_eq!(applied.len(), 1, "{accounts:?}");
    let good: Vec<u64> = heard
        .iter()
        .filter(|heard| heard.end == End::Reply && heard.status() == 200)
        .map(Heard::receipt)
        .collect();
    assert!(good.len() >= 36, "{heard:?}");
    assert!(good.iter().all(|receipt| *receipt == applied[0]), "{good:?}");
}

#[tokio::test]
async fn a_late_call_whose_key_another_one_used_in_the_meantime_is_not_applied() {
    let world = World::new().await;
    let soon = |behaviour: &Behaviour| behaviour.name == "good";
    let call = (0..100_000)
        .map(|number| asked(&format!("e{number}"), Front::Http, Declared::Idempotent))
        .find(|asked| matches!(draw(SEED, asked, 0).deed, Deed::Late(_)) && soon(&draw(SEED, asked, 1)))
        .unwrap();

    let (mut late, mut other) = (world.caller().await, world.caller().await);
    late.ask(&call, "key").await;
    world
        .until("its arrival", |record| matches!(record, LedgerRecord::Arrival { .. }))
        .await;
    other.ask(&call, "key").await;

    assert_eq!(other.hear().await.receipt(), 2);
    assert_eq!(late.hear().await.receipt(), 2);
    let accounts = world.account(2).await;
    assert_eq!(accounts[&1].ended(), (false, "200", true));
    assert_eq!(accounts[&2].ended(), (true, "200", true));
}

#[tokio::test]
async fn a_key_that_comes_with_another_body_is_turned_away() {
    let world = World::new().await;
    let mut caller = world.caller().await;

    caller.ask(&named("good", Front::Http), "key").await;
    caller.hear().await;
    caller
        .ask(&asked("another", Front::Http, Declared::Idempotent), "key")
        .await;

    assert_eq!(caller.hear().await.status(), 422);
    let accounts = world.account(2).await;
    assert_eq!(accounts[&2].ended(), (false, "422", false));
    assert_eq!(accounts[&2].conduct, "conflict");
}

#[tokio::test]
async fn a_key_protects_no_call_but_an_idempotent_one() {
    for declared in [Declared::AtMostOnce, Declared::ReadOnly] {
        let world = World::new().await;
        let twice_good = (0..1000)
            .map(|number| asked(&format!("e{number}"), Front::Http, declared))
            .find(|asked| (0..2).all(|before| draw(SEED, asked, before).name == "good"))
            .unwrap();
        let mut caller = world.caller().await;

        for receipt in 1..=2 {
            caller.ask(&twice_good, "key").await;
            assert_eq!(caller.hear().await.receipt(), receipt);
        }

        let accounts = world.account(2).await;
        assert!(
            accounts.values().all(|account| account.applied.is_some()),
            "{accounts:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_call_is_written_down_and_turned_away() {
    let world = World::new().await;
    let mut caller = world.caller().await;
    let elsewhere = asked("r1-t1-c0", Front::Http, Declared::Idempotent);

    for body in ["{", &serde_json::to_string(&elsewhere).unwrap()] {
        caller.send(Front::Function, body, "key").await;
        assert_eq!(caller.hear().await.status(), 400);
    }

    for account in world.account(2).await.values() {
        assert_eq!(account.effect, "unreadable");
        assert_eq!(account.ended(), (false, "400", false));
    }
}

#[tokio::test]
async fn a_call_that_breaks_off_has_not_arrived() {
    let world = World::new().await;

    let mut caller = world.caller().await;
    caller
        .0
        .write_all(b"POST /http HTTP/1.1\r\ncontent-length: 100\r\n\r\n{\"effect\"")
        .await
        .unwrap();
    caller.0.shutdown().await.unwrap();
    assert_eq!(caller.hear().await.end, End::Closed);

    assert!(world.so_far().is_empty());
}

#[tokio::test]
async fn a_ledger_that_ends_has_written_down_everything() {
    let world = World::new().await;
    let mut caller = world.caller().await;
    caller.ask(&named("unanswered", Front::Http), "key").await;
    caller.hear().await;

    world.book.reply(1, "the last".to_owned(), false);
    world.book.close();

    world.keeper.await.unwrap().unwrap();
    let records: Vec<LedgerRecord> = read(&world.folder.path().join("ledger.jsonl")).unwrap();
    assert_eq!(accounts(records)[&1].what, "the last");
}
