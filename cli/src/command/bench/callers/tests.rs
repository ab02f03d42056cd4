use super::*;

/// Does three units a call, and ends everything at its fourth.
struct Three {
    calls: u64,
    shutdown: CancellationToken,
}

impl Caller for Three {
    async fn call(&mut self) -> anyhow::Result<u64> {
        self.calls += 1;
        if self.calls == 4 {
            self.shutdown.cancel();
        }
        tokio::task::yield_now().await;
        Ok(3)
    }
}

#[tokio::test]
async fn callers_call_until_time_is_over_and_are_given_back() {
    let shutdown = CancellationToken::new();
    let caller = || Three {
        calls: 4,
        shutdown: shutdown.clone(),
    };
    let window = Duration::from_millis(20);
    let (callers, tally) = call_all(vec![caller(), caller()], window, &shutdown).await.unwrap();
    let calls: u64 = callers.iter().map(|caller| caller.calls - 4).sum();
    assert_eq!((callers.len(), tally.units()), (2, calls * 3));
    assert!(tally.per_second() > 0.0 && tally.millis(99) >= tally.millis(50));
}

#[tokio::test]
async fn a_shutdown_ends_the_calls_and_nothing_counts() {
    let shutdown = CancellationToken::new();
    let caller = Three {
        calls: 0,
        shutdown: shutdown.clone(),
    };
    let told = call_all(vec![caller], Duration::from_secs(600), &shutdown).await;
    let told = told
        .err()
        .and_then(|error| error.downcast::<crate::failure::Failure>().ok());
    assert_eq!(told.map(|failure| failure.code), Some("interrupted".to_owned()));
}

#[test]
fn times_are_read_off_in_their_order() {
    let tally = Tally {
        times: (1..=100).map(Duration::from_millis).collect(),
        ..Tally::default()
    };
    assert!((tally.millis(50) - 50.0).abs() < 0.01);
    assert!((tally.millis(99) - 99.0).abs() < 0.01);
    assert!((Tally::default().millis(50)).abs() < 0.01);
}
