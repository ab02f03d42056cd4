//! What a run was told from outside: one row per signal, in the order in which they came.

use super::{in_line, instant, short, table, trimmed};
use engine::query::ReceivedSignal;

/// Longer payloads are told in full by `--json`.
const PAYLOAD_CHARS_MAX: usize = 60;

/// A table of every signal, with the step that took it.
pub(crate) fn of(rows: &[ReceivedSignal]) -> String {
    let mut signals = table(&["signal", "id", "from", "sent", "taken by", "payload"]);
    for row in rows {
        let taken = row.taken_by.map(|step| format!("step {step}"));
        let cells = [
            short(&row.name, 40),
            row.id.clone(),
            short(&row.sender, 40),
            instant(row.at),
            taken.unwrap_or_else(|| "-".to_owned()),
            short(&row.payload.to_string(), PAYLOAD_CHARS_MAX),
        ];
        signals.add_row(cells.iter().map(|cell| in_line(cell)));
    }
    trimmed(&signals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::start;
    use serde_json::json;

    #[test]
    fn a_signal_is_one_line_and_says_which_step_took_it() {
        let signal = |taken_by| ReceivedSignal {
            wake: 1,
            id: "approval\n17".to_owned(),
            name: "approved".to_owned(),
            sender: "Ada".to_owned(),
            at: start(),
            payload: json!({"by": "Ada"}).into(),
            taken_by,
        };
        let told = of(&[signal(Some(3)), signal(None)]);
        let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split("  ").collect()).collect();
        let words = |line: &[&str]| {
            line.iter()
                .map(|word| word.trim())
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join("|")
        };
        assert_eq!(
            words(&lines[1]),
            r#"approved|approval\n17|Ada|2026-11-14T10:00:00Z|step 3|{"by":"Ada"}"#
        );
        assert!(words(&lines[2]).contains("|-|"), "{told}");
    }
}
