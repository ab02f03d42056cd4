//! A report as people and as programs see it.

use super::measured::{Measured, Report};
use crate::output::style;
use crate::show::{table, trimmed};
use comfy_table::CellAlignment;
use engine::bench_floor::Counted;
use serde_json::{Map, Value, json};

/// A flat object of figures, their ratios, and how they came about.
pub(super) fn json(report: &Report) -> Value {
    let (mut told, mut ratios) = (Map::new(), Map::new());
    for part in &report.parts {
        let workload = part.workload.name();
        for figure in &part.figures {
            let key = format!("{workload}.{}", figure.key);
            if let Some(ratio) = report.ratio(figure) {
                ratios.insert(key.clone(), json!(ratio));
            }
            told.insert(key, json!(figure.value));
        }
        for (key, value) in part.cost.fields() {
            told.insert(format!("{workload}.{}.{key}", part.part), json!(value));
        }
    }
    told.insert("floor_ratio".to_owned(), Value::Object(ratios));
    told.insert(
        "about".to_owned(),
        json!({
            "release": env!("CARGO_PKG_VERSION"),
            "debug_build": cfg!(debug_assertions),
            "postgres": report.postgres,
            "private_server": report.is_private,
            "seconds": report.seconds,
            "history": report.history,
            "hold_xmin": report.hold_xmin,
            "statements_are": match report.counted {
                Counted::Statements => "statements",
                Counted::Transactions => "transactions",
            },
        }),
    );
    Value::Object(told)
}

/// Two tables, and what one has to know to read them.
pub(super) fn text(report: &Report) -> String {
    [figures(report), costs(report), notes(report)].join("\n\n")
}

fn figures(report: &Report) -> String {
    let mut rows = table(&["figure", "value", "unit", "of the floor", "what is done"]);
    align(&mut rows, &[1, 3]);
    for part in &report.parts {
        for (place, figure) in part.figures.iter().enumerate() {
            // Once for all figures of one measurement.
            let what = if place == 0 { part.what.as_str() } else { "" };
            rows.add_row([
                format!("{}.{}", part.workload.name(), figure.key),
                number(figure.value),
                figure.unit.to_owned(),
                report.ratio(figure).map(ratio).unwrap_or_default(),
                what.to_owned(),
            ]);
        }
    }
    trimmed(&rows)
}

fn costs(report: &Report) -> String {
    let headings = [
        "cost of 1,000",
        "of",
        "Postgres CPU s",
        "worker CPU s",
        "WAL KB",
        "tables KB",
        counted(report),
    ];
    let mut rows = table(&headings);
    align(&mut rows, &[2, 3, 4, 5, 6]);
    let known = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    for part in &report.parts {
        let cost = &part.cost;
        rows.add_row([
            name(part),
            cost.of.to_owned(),
            known(cost.postgres_cpu_seconds),
            known(cost.worker_cpu_seconds),
            number(cost.wal_bytes / 1024.0),
            number(cost.table_bytes / 1024.0),
            number(cost.statements),
        ]);
    }
    trimmed(&rows)
}

fn name(part: &Measured) -> String {
    format!("{}.{}", part.workload.name(), part.part)
}

const fn counted(report: &Report) -> &'static str {
    match report.counted {
        Counted::Statements => "statements",
        Counted::Transactions => "transactions",
    }
}

fn notes(report: &Report) -> String {
    let mut notes = vec![format!(
        "PostgreSQL {}, {}; {} s each",
        report.postgres,
        if report.is_private {
            "a private server with fsync on"
        } else {
            "the server that was named"
        },
        report.seconds
    )];
    if report.history > 0 {
        notes.push(format!("{} old runs were there before", grouped(report.history)));
    }
    if report.hold_xmin {
        notes.push("a reader held an old snapshot open".to_owned());
    }
    notes.push("of the floor: one row a commit, or batches where batches are measured".to_owned());
    notes.push("worker CPU: this process, clients and all, without the model that it plays".to_owned());
    if !report.is_private {
        notes.push("WAL is the whole server's, and nobody knows its CPU from here".to_owned());
    }
    if report.counted == Counted::Transactions {
        notes.push("statements are not known without pg_stat_statements; transactions are approximate".to_owned());
    }
    let notes: Vec<String> = notes.iter().map(style::dim).collect();
    notes.join("\n")
}

fn align(rows: &mut comfy_table::Table, numbers: &[usize]) {
    for number in numbers {
        if let Some(column) = rows.column_mut(*number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn ratio(value: f64) -> String {
    format!("{value:.2} x")
}

/// Three digits that count, and a comma after each thousand.
fn number(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and rounded on purpose"
        )]
        _ => grouped(value.round() as u64),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests;
