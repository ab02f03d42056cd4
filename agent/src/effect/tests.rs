use super::{Attempts, Effect, UnknownReason, Verdict, verdict};
use crate::error::ErrorClass;

const CLASSES: [ErrorClass; 8] = [
    ErrorClass::Transient,
    ErrorClass::RateLimited,
    ErrorClass::Overloaded,
    ErrorClass::Timeout,
    ErrorClass::Permanent,
    ErrorClass::UserError,
    ErrorClass::InvalidInput,
    ErrorClass::Unknown,
];

#[derive(Debug, Clone, Copy)]
struct Case {
    effect: Effect,
    class: ErrorClass,
    known_not_applied: bool,
    attempts: Attempts,
}

impl Case {
    fn verdict(self) -> Verdict {
        verdict(self.effect, self.class, self.known_not_applied, self.attempts)
    }

    fn in_doubt(self) -> bool {
        !self.known_not_applied || self.attempts.maybe_applied
    }

    /// Whether another attempt may help and its budget has room for it.
    fn may_go_on(self) -> bool {
        let has_room = self.attempts.attempt < self.attempts.attempts_max && !self.attempts.horizon_passed;
        has_room && self.class.is_retryable()
    }
}

/// Every effect with every class, every knowledge and every budget.
fn every_case() -> Vec<Case> {
    let mut cases = Vec::new();
    for effect in Effect::ALL {
        for class in CLASSES {
            for bits in 0..8 {
                for attempt in 1..=4 {
                    let attempts = Attempts {
                        attempt,
                        attempts_max: 3,
                        maybe_applied: bits & 1 > 0,
                        horizon_passed: bits & 2 > 0,
                    };
                    cases.push(Case {
                        effect,
                        class,
                        known_not_applied: bits & 4 > 0,
                        attempts,
                    });
                }
            }
        }
    }
    cases
}

fn check(picked: impl Fn(&Case) -> bool, holds: impl Fn(Verdict) -> bool) {
    let cases: Vec<Case> = every_case().into_iter().filter(picked).collect();
    assert!(!cases.is_empty(), "no case was picked");
    for case in cases {
        assert!(holds(case.verdict()), "{case:?} became {:?}", case.verdict());
    }
}

#[test]
fn an_at_most_once_call_in_doubt_is_unknown_and_never_retried() {
    check(
        |case| case.effect == Effect::AtMostOnce && case.in_doubt(),
        |verdict| verdict == Verdict::Unknown(UnknownReason::UnknownOutcome),
    );
}

#[test]
fn an_at_most_once_call_that_is_known_not_to_have_happened_is_never_unknown() {
    check(
        |case| case.effect == Effect::AtMostOnce && !case.in_doubt(),
        |verdict| !matches!(verdict, Verdict::Unknown(_)),
    );
}

#[test]
fn an_idempotent_call_that_may_have_been_applied_never_fails_for_certain() {
    check(
        |case| case.effect == Effect::Idempotent && case.in_doubt(),
        |verdict| verdict != Verdict::Failed,
    );
}

#[test]
fn an_idempotent_call_is_unknown_only_because_its_retries_are_exhausted() {
    check(
        |case| case.effect == Effect::Idempotent && case.may_go_on(),
        |verdict| verdict == Verdict::Retry,
    );
    check(
        |case| case.effect == Effect::Idempotent && !case.may_go_on() && case.in_doubt(),
        |verdict| verdict == Verdict::Unknown(UnknownReason::RetriesExhausted),
    );
}

#[test]
fn a_read_only_call_is_never_unknown() {
    check(
        |case| case.effect == Effect::ReadOnly,
        |verdict| !matches!(verdict, Verdict::Unknown(_)),
    );
}

#[test]
fn what_is_in_no_doubt_is_tried_again_as_long_as_that_may_help_and_there_is_room() {
    check(
        |case| !case.in_doubt() && case.may_go_on(),
        |verdict| verdict == Verdict::Retry,
    );
    check(
        |case| !case.in_doubt() && !case.may_go_on(),
        |verdict| verdict == Verdict::Failed,
    );
}

#[test]
fn nothing_is_tried_beyond_its_budget_or_where_trying_again_cannot_help() {
    check(|case| !case.may_go_on(), |verdict| verdict != Verdict::Retry);
}

#[test]
fn an_effect_is_read_back_by_the_name_it_is_stored_under() {
    for effect in Effect::ALL {
        assert_eq!(Effect::parse(effect.as_str()), Some(effect));
    }
    assert_eq!(Effect::parse("exactly_once"), None);
}
