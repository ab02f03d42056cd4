use super::{WaitFor, next_action};
use crate::Agent;
use crate::fixture::{agent, at, journal, told};
use crate::journal::{Journal, Step};

mod calls;
mod deadline;
mod doubt;
mod gates;
mod model;
mod turn_limit;
mod whole_runs;
mod world;

/// What is decided at 10 seconds, as one line.
fn decision(journal: &Journal) -> String {
    decision_of(&agent(), journal)
}

fn decision_of(agent: &Agent, journal: &Journal) -> String {
    told(&next_action(agent, journal, at(10)))
}

fn decided(steps: Vec<Step>) -> String {
    decision(&journal(steps))
}

#[test]
fn a_parked_run_waits_for_an_approval() {
    assert_eq!(WaitFor::Approval.as_str(), "approval");
    assert_eq!(WaitFor::Probe.as_str(), "probe");
}
