//! The model's part: what the plan says that each shape of run does, and what befalls the model meanwhile.

use crate::plan::{ANSWER, Plan, Shape, Trouble, Turn};
use rehearsal::{Answer, ErrorAnswer, Rule, Script, When};
use serde_json::json;

/// One rule for each shape and turn, behind one for what befalls the first calls of it.
pub(super) fn of(plan: &Plan) -> Script {
    let shapes = plan.shapes.iter().chain(&plan.child_shapes);
    shapes.fold(Script::new(), with_shape)
}

fn with_shape(script: Script, shape: &Shape) -> Script {
    let mut script = script;
    for (number, turn) in (1..).zip(&shape.turns) {
        script = with_turn(script, (shape, number), (calling(number, turn), turn.trouble));
    }
    let last = shape.turns.len() + 1;
    with_turn(script, (shape, last), (Answer::text(ANSWER), shape.last_trouble))
}

fn with_turn(script: Script, (shape, turn): (&Shape, usize), (answer, trouble): (Answer, Trouble)) -> Script {
    let rule = Rule::when(When {
        turn: Some(turn),
        conversation_contains: Some(shape.name.clone()),
        ..When::default()
    });
    let named = |rule: Rule, what: &str| rule.named(format!("{}, turn {turn}{what}", shape.name));
    let script = match troubled(answer.clone(), trouble) {
        None => script,
        Some((times, troubled)) => {
            let rule = named(rule.clone(), ", in trouble");
            script.rule(rule.times(times).answers(troubled))
        }
    };
    script.rule(named(rule, "").answers(answer))
}

/// How often the trouble comes, and the answer in it.
fn troubled(answer: Answer, trouble: Trouble) -> Option<(u32, Answer)> {
    match trouble {
        Trouble::None => None,
        Trouble::Cut { after } => Some((1, answer.cut_after(after))),
        Trouble::Overloaded { times } => Some((times, Answer::error(529))),
        Trouble::Limited { retry_after_seconds } => {
            let limited = ErrorAnswer {
                status: 429,
                retry_after_seconds: Some(retry_after_seconds),
                ..ErrorAnswer::default()
            };
            Some((1, Answer::failing(limited)))
        }
        Trouble::ErrorEvent { after } => Some((1, answer.error_event(after, "overloaded_error"))),
        Trouble::Slow { delay } => Some((1, answer.after(delay))),
    }
}

/// The calls of a turn. The run's own number comes from its input.
fn calling(turn: usize, calls: &Turn) -> Answer {
    let calls = calls.calls.iter().enumerate();
    calls.fold(Answer::default(), |answer, (index, call)| {
        let input = json!({
            "effect": format!("r{{{{input.run}}}}-t{turn}-c{index}"),
            "front": call.front,
            "declared": call.declared,
        });
        answer.call(call.tool(), input)
    })
}
