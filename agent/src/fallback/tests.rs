use super::{CachePolicy, Escalation, Fallback, Label, Priority, Source, Substitute, label, next};
use crate::Effect;
use crate::Effect::{AtMostOnce, Idempotent, ReadOnly};
use crate::definition::Agent;
use crate::error::{ErrorClass, StepError};
use crate::fixture::{agent, answered, asked, at, calls, error, journal, told, tool_step};
use crate::journal::{Decision, Gate, HeldBack, Journal, Standing, Step, StepBody, StepState, ToolOutcome, Verb};
use crate::next_action::next_action;
use crate::time_limit::TURN_TIMEOUT;
use crate::transcript::error_outcome;
use serde_json::{Map, Value, json};

fn substitute(tool: &str, input: &Value) -> Substitute {
    Substitute {
        tool: tool.to_owned(),
        input: input.as_object().cloned().unwrap_or_default(),
        simplified: false,
        sample_rows: None,
        note: None,
    }
}

fn person() -> Fallback {
    Fallback::Person(Escalation {
        priority: Priority::High,
        note: None,
    })
}

/// `look` may be answered from its cache, by itself with less, and by a person; `book` by `pay`.
fn desk() -> Agent {
    let mut agent = agent();
    let simpler = Substitute {
        simplified: true,
        ..substitute("look", &json!({"detail": "low"}))
    };
    agent.tools[0].cache = Some(CachePolicy {
        ttl_seconds: 300,
        stale_on_error_seconds: 3_600,
        per_requester: false,
    });
    agent.tools[0].fallback = vec![Fallback::Call(simpler), person()];
    agent.tools[1].fallback = vec![Fallback::Call(substitute("pay", &Value::Null))];
    agent
}

fn failed(seq: u32, (effect, error): (Effect, StepError)) -> Step {
    tool_step(seq, (1, 0), effect, StepState::Failed).failed_with(error)
}

fn instead(mut step: Step, of: u32) -> Step {
    step.replaces = Some(of);
    step
}

fn run(name: &str, steps: impl IntoIterator<Item = Step>) -> Journal {
    journal(std::iter::once(answered(1, 1, calls(&[name]))).chain(steps).collect())
}

fn decided(name: &str, steps: impl IntoIterator<Item = Step>) -> String {
    told(&next_action(&desk(), &run(name, steps), at(10)))
}

fn transient() -> StepError {
    StepError::new(ErrorClass::Transient, "http_503", "it is down")
}

#[test]
fn a_call_that_failed_is_answered_by_each_of_its_ways_in_turn() {
    let cut = failed(2, (ReadOnly, transient()));
    let missed = instead(failed(3, (ReadOnly, error("cache_miss"))), 2);
    let simpler = instead(failed(4, (ReadOnly, error("http_404"))), 3);

    assert_eq!(decided("look", [cut.clone()]), "1/0 by the cache instead of 2");
    assert_eq!(
        decided("look", [cut.clone(), missed.clone()]),
        "1/0 by look instead of 3"
    );
    assert_eq!(
        decided("look", [cut.clone(), missed.clone(), simpler.clone()]),
        "1/0 by a person instead of 4",
        "a fallback was not worded by the model, so it cannot word it better"
    );
    let stale = instead(tool_step(3, (1, 0), ReadOnly, StepState::Succeeded), 2);
    assert_eq!(decided("look", [cut, stale]), "model 2");
}

#[test]
fn what_the_model_can_ask_better_it_is_told() {
    for class in [ErrorClass::UserError, ErrorClass::InvalidInput] {
        let error = StepError::new(class, "http_422", "no such date");

        assert_eq!(decided("look", [failed(2, (ReadOnly, error))]), "model 2");
    }
}

#[test]
fn what_may_have_happened_is_never_answered_in_another_way() {
    let given_up = failed(2, (Idempotent, StepError::given_up(None))).in_doubt();
    let unknown = tool_step(2, (1, 0), Idempotent, StepState::Unknown).in_doubt();
    let rejected = failed(2, (Idempotent, StepError::call_rejected("ann", None)));

    assert_eq!(
        decided("book", [failed(2, (Idempotent, transient()))]),
        "1/0 by pay instead of 2"
    );
    assert_eq!(decided("book", [given_up]), "model 2");
    assert_eq!(decided("book", [unknown]), "park for retries_exhausted");
    assert_eq!(decided("book", [rejected]), "model 2");
    let doubt = instead(tool_step(3, (1, 0), AtMostOnce, StepState::Unknown).in_doubt(), 2);
    assert_eq!(
        decided("book", [failed(2, (Idempotent, transient())), doubt]),
        "park for unknown_outcome",
        "a fallback keeps to the rules of its own effect"
    );
}

#[test]
fn a_call_that_was_resumed_has_all_its_ways_again() {
    let fatal = failed(2, (ReadOnly, error("missing_secret").fatal())).resumed();
    assert_eq!(decided("look", [fatal.clone()]), "call 1/0 look instead of 2");

    let again = instead(failed(3, (ReadOnly, transient())), 2);
    assert_eq!(decided("look", [fatal, again]), "1/0 by the cache instead of 3");
}

/// A call that failed in every other way, and waits for a person.
fn escalated(standing: Option<Standing>) -> Journal {
    let mut waiting = instead(tool_step(5, (1, 0), ReadOnly, StepState::Waiting), 4);
    waiting.attempt = 0;
    let mut journal = run(
        "look",
        [
            failed(2, (ReadOnly, transient())),
            instead(failed(3, (ReadOnly, error("cache_miss"))), 2),
            instead(failed(4, (ReadOnly, transient())), 3),
            waiting.clone(),
        ],
    );
    journal.asked.extend(standing.map(|standing| {
        let mut asked = asked(&waiting);
        asked.standing = standing;
        asked
    }));
    journal
}

fn decision(verb: Verb) -> Standing {
    Standing::Decided(Decision {
        verb,
        actor: "ann".to_owned(),
        words: Some("the books are closed".to_owned()),
        told: None,
    })
}

#[test]
fn a_person_decides_whether_the_call_is_made_once_more() {
    let decided = |standing| told(&next_action(&desk(), &escalated(standing), at(10)));

    assert_eq!(decided(Some(Standing::Open)), "park for retries_exhausted");
    assert_eq!(decided(Some(decision(Verb::Approve))), "again 5 resumed");
    assert_eq!(decided(Some(decision(Verb::Reject))), "give up 5 as failed: rejected");
    assert_eq!(decided(Some(Standing::Closed)), "ask about 5");
}

#[test]
fn a_person_has_the_last_word() {
    let mut journal = escalated(Some(decision(Verb::Reject)));
    let last = journal.steps.last_mut().unwrap();
    last.state = StepState::Failed;
    last.error = Some(StepError::call_rejected("ann", Some("the books are closed")));

    assert_eq!(told(&next_action(&desk(), &journal, at(10))), "model 2");
    let last = journal.steps.last().unwrap();
    assert_eq!(next(&desk(), &journal, last), None);
    let label = label(&desk(), &journal, last).unwrap();
    assert!(label.escalated);
    assert_eq!(label.approval.as_deref(), Some("about 5"));
}

#[test]
fn a_result_says_how_it_came_about() {
    let journal = run(
        "look",
        [
            failed(2, (ReadOnly, transient())),
            instead(failed(3, (ReadOnly, error("cache_miss"))), 2),
            instead(tool_step(4, (1, 0), ReadOnly, StepState::Running), 3),
        ],
    );
    let label_of = |seq: u32| {
        let step = journal.steps.iter().find(|step| step.seq == seq).unwrap();
        label(&desk(), &journal, step).unwrap()
    };

    assert_eq!(label_of(2).source, Some(Source::Live));
    let simpler = label_of(4);
    assert!(simpler.simplified);
    assert_eq!(simpler.fallback.as_deref(), Some("look"));
    assert_eq!(simpler.because.as_deref(), Some("http_503: it is down"));
    assert!(simpler.note.unwrap().contains("less complete"));
    let plain = tool_step(2, (1, 0), Idempotent, StepState::Running);
    assert_eq!(label(&desk(), &run("book", [plain.clone()]), &plain), None);
}

#[test]
fn a_label_stands_before_a_result_and_within_an_error() {
    let stale = Label::default().cached((Source::StaleCache, 900));
    let outcome = ToolOutcome {
        content: "[1, 2]".to_owned(),
        ..ToolOutcome::default()
    };

    let told = stale.clone().tell(outcome);

    let (first, rest) = told.content.split_once('\n').unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    assert_eq!(
        (first["source"].as_str(), first["age_seconds"].as_u64()),
        (Some("stale_cache"), Some(900))
    );
    assert!(first["warning"].as_str().unwrap().contains("900 s old"));
    assert_eq!((rest, told.label), ("[1, 2]", Some(Box::new(stale))));

    let label = Label {
        escalated: true,
        ..Label::default()
    };
    let told = label.tell(error_outcome(&transient()));
    let error: Value = serde_json::from_str(&told.content).unwrap();
    assert_eq!(
        (error["code"].as_str(), error["escalated"].as_bool()),
        (Some("http_503"), Some(true))
    );
}

#[test]
fn a_result_without_a_label_is_stored_as_it_always_was() {
    let outcome = ToolOutcome {
        content: "done".to_owned(),
        ..ToolOutcome::default()
    };

    assert_eq!(serde_json::to_string(&outcome).unwrap(), r#"{"content":"done"}"#);
}

#[test]
fn a_fallback_is_asked_what_its_author_says() {
    let input = Map::from_iter([("order".to_owned(), json!(7)), ("detail".to_owned(), json!("high"))]);
    let asked = |substitute: &Substitute| substitute.input("look", &input);

    let simpler = substitute("look", &json!({"detail": "low"}));
    assert_eq!(asked(&simpler), Ok(json!({"order": 7, "detail": "low"})), "laid over");
    let other = substitute("find", &json!({"id": "{order}", "text": "order {order}"}));
    assert_eq!(asked(&other), Ok(json!({"id": 7, "text": "order 7"})), "the whole");
    assert_eq!(asked(&substitute("find", &Value::Null)), Ok(json!(input)), "the same");
    let sample = Substitute {
        sample_rows: Some(10_000),
        ..substitute("look", &json!({"limit": "{rows}"}))
    };
    assert_eq!(asked(&sample).unwrap()["limit"], 10_000);
    assert_eq!(
        asked(&substitute("find", &json!({"id": "{nobody}"}))),
        Err("nobody".to_owned())
    );
}

#[test]
fn a_failed_fallback_of_a_tool_that_may_not_fail_is_the_runs_only_at_the_end() {
    let journal = run("look", [failed(2, (ReadOnly, transient()))]);
    let missed = instead(failed(3, (ReadOnly, error("cache_miss"))), 2);
    assert!(next(&desk(), &journal, &missed).is_some());

    let StepBody::Tool { name, .. } = &missed.body else {
        panic!()
    };
    assert_eq!(name, "look");
}

#[test]
fn a_call_whose_turns_time_is_over_has_no_fallback_and_people_may_take_longer() {
    let over = StepError::new(ErrorClass::Timeout, TURN_TIMEOUT, "its turn is over");
    assert_eq!(decided("book", [failed(2, (Idempotent, over))]), "model 2");

    let cut = failed(2, (ReadOnly, transient()));
    let missed = instead(failed(3, (ReadOnly, error("cache_miss"))), 2);
    let simpler = instead(failed(4, (ReadOnly, error("http_404"))), 3);
    let mut asked = instead(tool_step(5, (1, 0), ReadOnly, StepState::Waiting), 4);
    asked.attempt = 0;
    let journal = run("look", [cut, missed, simpler, asked]);
    let mut agent = desk();
    let without = told(&next_action(&agent, &journal, at(10)));
    agent.limits.turn_seconds = Some(5);
    assert_eq!(told(&next_action(&agent, &journal, at(10))), without);
}

#[test]
fn an_approved_call_that_a_gate_keeps_back_is_not_taken_up_again_and_again() {
    let mut journal = escalated(Some(decision(Verb::Approve)));
    let seq = journal.steps.last().unwrap().seq;
    journal.held_back.push(HeldBack { seq, by: Gate::Slot });

    let decided = told(&next_action(&desk(), &journal, at(10)));

    assert!(decided.starts_with("park for "), "{decided}");
}
