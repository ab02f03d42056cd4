use super::*;

/// The faults that fall within so many seconds, time that they take left aside.
fn within(seconds: u64, seed: u64) -> Vec<Step> {
    let mut left = Duration::from_secs(seconds);
    Schedule::of(seed, 4)
        .take_while(|step| {
            let is_in_time = step.pause <= left;
            left = left.saturating_sub(step.pause);
            is_in_time
        })
        .collect()
}

fn count(steps: &[Step], is_meant: impl Fn(&Fault) -> bool) -> usize {
    steps.iter().filter(|step| is_meant(&step.fault)).count()
}

#[test]
fn the_same_seed_gives_the_same_faults_and_another_one_others() {
    assert_eq!(within(600, 7), within(600, 7));
    assert_ne!(within(600, 7), within(600, 8));
}

#[test]
fn a_minute_holds_every_kind_of_fault() {
    for seed in 0..50 {
        let steps = within(52, seed);
        for window in Window::ALL {
            let aims = count(&steps, |fault| *fault == Fault::Aimed(window));
            assert!(aims >= 2, "seed {seed}: {window:?} {aims} times");
        }
        assert!(
            count(&steps, |fault| matches!(fault, Fault::KillPostgres { .. })) >= 1,
            "seed {seed}"
        );
        assert!(
            count(&steps, |fault| matches!(fault, Fault::Stop { .. })) >= 5,
            "seed {seed}"
        );
        assert!(count(&steps, |fault| *fault == Fault::KillApi) >= 1, "seed {seed}");
        assert!(count(&steps, |fault| *fault == Fault::Drain) >= 1, "seed {seed}");
    }
}

#[test]
fn ten_minutes_hold_as_many_as_are_needed() {
    // A tenth of the time goes into servers that are down.
    let steps = within(540, 1);
    for window in Window::ALL {
        assert!(count(&steps, |fault| *fault == Fault::Aimed(window)) >= 30);
    }
    assert!(count(&steps, |fault| matches!(fault, Fault::Stop { .. })) >= 80);
    assert!(count(&steps, |fault| matches!(fault, Fault::KillPostgres { .. })) >= 20);
    assert!(count(&steps, |fault| *fault == Fault::Kill) >= 80);
    assert!(count(&steps, |fault| *fault == Fault::CutTools) >= 40);
    assert!(count(&steps, |fault| *fault == Fault::Drain) >= 40);
}

#[test]
fn a_stop_outlasts_the_lease_and_every_slot_has_its_turn() {
    let steps = within(600, 3);
    for step in &steps {
        let mut order = step.order.clone();
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3]);
        if let Fault::Stop { length } = step.fault {
            assert!(length > LEASE && length < 4 * LEASE);
        }
    }
    for slot in 0..4 {
        assert!(steps.iter().any(|step| step.order[0] == slot));
    }
}
