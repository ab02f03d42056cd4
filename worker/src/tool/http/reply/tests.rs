use super::{Fate, fate};
use agent::ErrorClass;

#[test]
fn only_statuses_that_say_so_for_certain_are_called_not_applied() {
    for status in 0..=999 {
        let certain = (400..=499).contains(&status) && status != 408 && status != 409;
        assert_eq!(matches!(fate(status), Fate::NotApplied(_)), certain, "{status}");
    }
}

#[test]
fn only_a_success_is_called_done() {
    for status in 0..=999 {
        assert_eq!(fate(status) == Fate::Done, (200..=299).contains(&status), "{status}");
    }
}

#[test]
fn a_status_tells_whether_trying_again_may_help() {
    for (status, expected) in [
        (303, Fate::Ambiguous(ErrorClass::Permanent)),
        (400, Fate::NotApplied(ErrorClass::UserError)),
        (401, Fate::NotApplied(ErrorClass::Permanent)),
        (403, Fate::NotApplied(ErrorClass::Permanent)),
        (404, Fate::NotApplied(ErrorClass::UserError)),
        (408, Fate::Ambiguous(ErrorClass::Timeout)),
        (409, Fate::Ambiguous(ErrorClass::Permanent)),
        (410, Fate::NotApplied(ErrorClass::Permanent)),
        (422, Fate::NotApplied(ErrorClass::UserError)),
        (429, Fate::NotApplied(ErrorClass::RateLimited)),
        (500, Fate::Ambiguous(ErrorClass::Transient)),
        (501, Fate::Ambiguous(ErrorClass::Permanent)),
        (502, Fate::Ambiguous(ErrorClass::Transient)),
        (503, Fate::Ambiguous(ErrorClass::Transient)),
        (504, Fate::Ambiguous(ErrorClass::Transient)),
        (529, Fate::Ambiguous(ErrorClass::Overloaded)),
    ] {
        assert_eq!(fate(status), expected, "{status}");
    }
}
