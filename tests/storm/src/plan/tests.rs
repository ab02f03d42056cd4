use super::*;

#[test]
fn the_same_seed_gives_the_same_plan_and_another_one_another() {
    let told = |seed| {
        let plan = Plan::of(seed);
        let runs: Vec<_> = (0..50).map(|number| plan.run(number)).collect();
        format!("{plan:?} {runs:?}").replace(&seed.to_string(), "")
    };
    assert_eq!(told(7), told(7));
    assert_ne!(told(7), told(8));
}

#[test]
fn every_kind_of_call_stands_in_a_plan() {
    let plan = Plan::of(1);
    let calls: Vec<Call> = plan
        .shapes
        .iter()
        .flat_map(|shape| shape.turns.iter().flat_map(|turn| turn.calls.clone()))
        .collect();
    for front in Front::ALL {
        for declared in Declared::ALL {
            assert!(calls.contains(&Call { front, declared }), "{front:?} {declared:?}");
        }
    }
}

#[test]
fn the_effects_of_a_run_are_told_apart() {
    let plan = Plan::of(1);
    let mut names: Vec<String> = (0..100)
        .flat_map(|number| plan.effects(&plan.run(number)))
        .map(|(name, _)| name)
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn of_very_many_calls_as_many_are_planned_as_the_limit_lets_through() {
    let plan = Plan::of(1);
    let mut runs = (0..1000).map(|number| plan.run(number));
    let wide = runs.find(|run| plan.unmade(run) > 0).unwrap();
    assert_eq!((plan.effects(&wide).len(), plan.unmade(&wide)), (64, 136));
}

#[test]
fn runs_of_both_kinds_are_started_by_every_door() {
    let plan = Plan::of(1);
    let runs: Vec<RunPlan> = (0..200).map(|number| plan.run(number)).collect();
    for kind in [Kind::Agent, Kind::Workflow] {
        for door in [Door::Http, Door::CommandLine, Door::Sql] {
            assert!(
                runs.iter().any(|run| run.kind == kind && run.door == door),
                "{kind:?} {door:?}"
            );
        }
    }
}
