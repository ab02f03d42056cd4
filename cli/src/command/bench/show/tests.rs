use super::*;
use crate::args::Workload;
use crate::command::bench::measured::{Cost, Figure};

fn part(workload: Workload, figure: Figure) -> Measured {
    Measured {
        workload,
        part: "single",
        what: "something".to_owned(),
        figures: vec![figure],
        cost: Cost {
            of: "runs",
            wal_bytes: 2048.0,
            ..Cost::default()
        },
    }
}

fn figure(value: f64, floor: Option<&'static str>) -> Figure {
    Figure {
        key: "single_per_second",
        value,
        unit: "runs/s",
        floor,
    }
}

fn report(parts: Vec<Measured>) -> Report {
    Report {
        parts,
        seconds: 5,
        history: 0,
        hold_xmin: false,
        is_private: false,
        postgres: "17.2".to_owned(),
        counted: Counted::Transactions,
    }
}

fn both() -> Report {
    report(vec![
        part(Workload::Floor, figure(20_000.0, None)),
        part(Workload::W4, figure(5000.0, Some("single_per_second"))),
    ])
}

#[test]
fn every_figure_is_also_a_ratio_to_the_floor() {
    let told = json(&both());
    assert_eq!(told["w4.single_per_second"], 5000.0);
    assert_eq!(told["floor_ratio"]["w4.single_per_second"], 0.25);
    assert_eq!(told["w4.single.wal_bytes_per_1000"], 2048.0);
    assert_eq!(told["about"]["statements_are"], "transactions");
    let text = text(&both());
    let line = text.lines().find(|line| line.starts_with("w4.single_per_second"));
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    assert_eq!(
        words,
        ["w4.single_per_second", "5,000", "runs/s", "0.25", "x", "something"]
    );
}

#[test]
fn what_nobody_knows_is_null_and_without_the_floor_there_is_no_ratio() {
    let alone = report(both().parts.into_iter().skip(1).collect());
    let told = json(&alone);
    assert_eq!(told["w4.single.postgres_cpu_seconds_per_1000"], Value::Null);
    assert_eq!(told["floor_ratio"], json!({}));
}

#[test]
fn numbers_keep_the_digits_that_count() {
    assert_eq!(number(0.184), "0.18");
    assert_eq!(number(18.44), "18.4");
    assert_eq!(number(999.6), "1,000");
    assert_eq!(number(1_234_567.0), "1,234,567");
}
