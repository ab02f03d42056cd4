//! What two benches told, side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Begins all keys of the peer; behind it they are ours.
const PEER: &str = "dbos.";

/// The figure that there is a goal for, and the ratio that it is to reach.
const GOAL: (&str, f64) = ("w1.steps_per_second", 6.0);

/// What a cost's key ends with: the peer tells none.
const COST: &str = "_per_1000";

/// What one bench told: figures by their keys, and how they came about.
pub(crate) type Figures = Map<String, Value>;

/// Ours and the peer's.
pub(crate) type Round = (Figures, Figures);

/// Reads a bench's JSON.
pub(crate) fn figures(json: &str) -> serde_json::Result<Figures> {
    serde_json::from_str(json)
}

/// A figure, as far as each has it: medians of all rounds.
#[derive(Debug, Default, PartialEq)]
struct Row {
    ours: Option<f64>,
    theirs: Option<f64>,
    /// Of each round's own, so that what slows down a whole round does not count.
    ratio: Option<f64>,
}

/// By our keys, without a prefix.
fn rows(rounds: &[Round]) -> BTreeMap<String, Row> {
    let keys: BTreeSet<String> = rounds.iter().flat_map(keys_of).collect();
    let row = |key: String| {
        let mine = |round: &Round| round.0.get(&key).and_then(Value::as_f64);
        let theirs = |round: &Round| round.1.get(&format!("{PEER}{key}")).and_then(Value::as_f64);
        let ratio = |round: &Round| match (mine(round)?, theirs(round)?) {
            (mine, theirs) if is_time(&key) => Some(theirs / mine),
            (mine, theirs) => Some(mine / theirs),
        };
        let row = Row {
            ours: median(rounds.iter().filter_map(mine).collect()),
            theirs: median(rounds.iter().filter_map(theirs).collect()),
            ratio: median(rounds.iter().filter_map(ratio).collect()),
        };
        (key, row)
    };
    keys.into_iter().map(row).collect()
}

fn keys_of((ours, theirs): &Round) -> Vec<String> {
    let numbers = |figures: &Figures| -> Vec<String> {
        let known = figures.iter().filter(|(_, value)| value.is_number());
        known.map(|(key, _)| key.clone()).collect()
    };
    let theirs = numbers(theirs);
    let theirs = theirs.iter().filter_map(|key| key.strip_prefix(PEER));
    let mut keys = numbers(ours);
    keys.retain(|key| !key.ends_with(COST));
    keys.extend(theirs.map(str::to_owned));
    keys
}

/// Of a time less is better, of a rate more.
fn is_time(key: &str) -> bool {
    key.ends_with("_ms")
}

/// The upper one of the two in the middle, where there are two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// One line a figure.
pub(crate) fn table(rounds: &[Round]) -> String {
    let rows = rows(rounds);
    let width = rows.keys().map(String::len).max().unwrap_or_default();
    let known = |value: Option<f64>| match value {
        None => String::new(),
        // The digits that count.
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    };
    let heading = format!(
        "{:width$}  {:>12}  {:>12}  {:>8}",
        "FIGURE", "LONGHAUL", "DBOS", "RATIO"
    );
    let lines = rows.iter().map(|(key, row)| {
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} x"));
        let line = format!(
            "{key:width$}  {:>12}  {:>12}  {ratio:>8}",
            known(row.ours),
            known(row.theirs)
        );
        line.trim_end().to_owned()
    });
    std::iter::once(heading).chain(lines).collect::<Vec<_>>().join("\n")
}

/// What the peer was set to where it was best, once for each figure that it told of.
pub(crate) fn best_settings(rounds: &[Round]) -> BTreeSet<String> {
    let told = rounds.iter().filter_map(|(_, theirs)| {
        let about = theirs.get("about")?;
        about.get("best_settings")?.as_object()
    });
    told.flatten()
        .map(|(key, setting)| format!("{key}: at its best with {}", setting.as_str().unwrap_or_default()))
        .collect()
}

/// Whether the goal is reached.
pub(crate) fn verdict(rounds: &[Round]) -> String {
    let (key, wanted) = GOAL;
    match rows(rounds).get(key).and_then(|row| row.ratio) {
        Some(ratio) if ratio >= wanted => format!("goal: {key} at least {wanted} x the peer's: reached, {ratio:.2} x"),
        Some(ratio) => format!("goal: {key} at least {wanted} x the peer's: missed, {ratio:.2} x"),
        None => format!("goal: {key} at least {wanted} x the peer's: not measured"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn round(ours: &Value, theirs: &Value) -> Round {
        let figures = |value: &Value| figures(&value.to_string()).unwrap();
        (figures(ours), figures(theirs))
    }

    #[test]
    fn a_rate_is_better_when_it_is_higher_and_a_time_when_it_is_lower() {
        let rounds = [round(
            &json!({"w1.steps_per_second": 600.0, "w3.step_ms": 0.5}),
            &json!({"dbos.w1.steps_per_second": 100.0, "dbos.w3.step_ms": 1.5}),
        )];
        let rows = rows(&rounds);
        assert_eq!(rows["w1.steps_per_second"].ratio, Some(6.0));
        assert_eq!(rows["w3.step_ms"].ratio, Some(3.0));
        assert!(verdict(&rounds).contains("reached"), "{}", verdict(&rounds));
    }

    #[test]
    fn a_ratio_is_the_median_of_each_rounds_own() {
        let rounds = [(60.0, 20.0), (600.0, 100.0), (50.0, 10.0)].map(|(ours, theirs)| {
            round(
                &json!({"w1.steps_per_second": ours}),
                &json!({"dbos.w1.steps_per_second": theirs}),
            )
        });
        let row = &rows(&rounds)["w1.steps_per_second"];
        assert_eq!((row.ours, row.theirs, row.ratio), (Some(60.0), Some(20.0), Some(5.0)));
        assert!(verdict(&rounds).contains("missed"), "{}", verdict(&rounds));
    }

    #[test]
    fn what_one_side_has_stands_alone_and_costs_are_left_out() {
        let rounds = [round(
            &json!({"floor.single_per_second": 9.0, "w1.once.wal_bytes_per_1000": 1.0, "about": {"seconds": 5}}),
            &json!({"dbos.w1.runs_16.steps_per_second": 7.0,
                    "about": {"best_settings": {"dbos.w1.steps_per_second": "16 runs"}}}),
        )];
        let rows = rows(&rounds);
        assert_eq!(
            rows.keys().collect::<Vec<_>>(),
            ["floor.single_per_second", "w1.runs_16.steps_per_second"]
        );
        assert!(rows.values().all(|row| row.ratio.is_none()), "{rows:?}");
        let settings: Vec<String> = best_settings(&rounds).into_iter().collect();
        assert_eq!(settings, ["dbos.w1.steps_per_second: at its best with 16 runs"]);
        assert!(verdict(&rounds).contains("not measured"), "{}", verdict(&rounds));
    }
}
