use super::Schedule;
use std::time::Duration;

const SCHEDULE: Schedule = Schedule {
    initial: Duration::from_millis(100),
    cap: Duration::from_secs(2),
};

#[test]
fn delays_double_within_half_either_way_and_stop_at_the_cap() {
    for (attempt, middle_ms) in [(1, 100), (2, 200), (3, 400), (6, 2000), (60, 2000)] {
        for _ in 0..50 {
            let delay = SCHEDULE.delay(attempt, None).as_millis();
            assert!(
                (middle_ms / 2..=middle_ms * 3 / 2).contains(&delay),
                "attempt {attempt}: {delay} ms"
            );
        }
    }
}

#[test]
fn what_the_target_asked_for_is_the_least() {
    assert_eq!(SCHEDULE.delay(1, Some(Duration::from_secs(9))), Duration::from_secs(9));
    assert!(SCHEDULE.delay(6, Some(Duration::from_millis(1))) >= Duration::from_secs(1));
}
