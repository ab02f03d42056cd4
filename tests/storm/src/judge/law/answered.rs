//! Every call that the model asks for is answered once, in the order asked, and under its own name.

use super::Finding;
use crate::judge::history::History;
use crate::record::{Exchange, Told};
use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) fn answered(history: &History) -> Vec<Finding> {
    let runs: BTreeMap<Option<u64>, Uuid> = history.runs.iter().map(|(id, run)| (run.number, *id)).collect();
    let broken = history.shown.iter().filter_map(|shown| {
        let what = shown.exchanges.iter().find_map(misled)?;
        let finding = Finding::new(format!("the model of run {} of the plan {what}", shown.run));
        let run = runs.get(&Some(shown.run));
        Some(run.into_iter().fold(finding, |finding, run| finding.run(*run)))
    });
    broken.collect()
}

/// What is wrong with what the model was told.
fn misled(exchange: &Exchange) -> Option<String> {
    let ids = |told: &[Told]| told.iter().map(|told| told.id.clone()).collect::<Vec<_>>();
    let (asked, told) = (ids(&exchange.asked), ids(&exchange.told));
    if asked != told {
        return Some(format!(
            "asked for {} calls and was told of others: {asked:?}, {told:?}",
            asked.len()
        ));
    }
    let mut pairs = exchange.asked.iter().zip(&exchange.told);
    let other = pairs.find(|(asked, told)| told.effect.is_some() && told.effect != asked.effect);
    other.map(|(asked, told)| {
        let name = |told: &Told| told.effect.clone().unwrap_or_else(|| "nothing".to_owned());
        format!("asked for {} and was told of {}", name(asked), name(told))
    })
}
