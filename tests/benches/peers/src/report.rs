//! Figures as people and as programs see them.

use crate::steps::Setting;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Every key begins with the peer's name.
const PREFIX: &str = "dbos";
/// As `Cargo.toml` asks for it.
const RELEASE: &str = "0.5.0";

/// What was measured.
pub(crate) struct Report {
    seconds: u64,
    figures: Vec<(String, f64, &'static str)>,
    best: Map<String, Value>,
}

impl Report {
    pub(crate) fn new(seconds: u64) -> Self {
        Self {
            seconds,
            figures: Vec::new(),
            best: Map::new(),
        }
    }

    pub(crate) fn figure(&mut self, key: &str, value: f64, unit: &'static str) {
        self.figures.push((format!("{PREFIX}.{key}"), value, unit));
    }

    /// The time within which this share of the runs was done; `times` ascend, and there is at least one.
    pub(crate) fn millis(&mut self, key: &str, times: &[Duration], percent: usize) {
        let place = times.len().saturating_sub(1) * percent / 100;
        let time = times.get(place).copied().unwrap_or_default();
        self.figure(key, time.as_secs_f64() * 1000.0, "ms");
    }

    /// The setting that a figure was reached with.
    pub(crate) fn best(&mut self, key: &str, setting: &Setting) {
        self.best.insert(format!("{PREFIX}.{key}"), json!(setting.to_string()));
    }

    pub(crate) fn json(&self) -> Value {
        let figures = self.figures.iter().map(|(key, value, _)| (key.clone(), json!(value)));
        let mut told: Map<String, Value> = figures.collect();
        let about = json!({
            "peer": PREFIX,
            "release": RELEASE,
            "debug_build": cfg!(debug_assertions),
            "seconds": self.seconds,
            "best_settings": self.best,
        });
        told.insert("about".to_owned(), about);
        Value::Object(told)
    }

    pub(crate) fn text(&self) -> String {
        let width = self.figures.iter().map(|(key, ..)| key.len()).max().unwrap_or_default();
        let mut lines: Vec<String> = self
            .figures
            .iter()
            .map(|(key, value, unit)| format!("{key:width$}  {value:>10.2}  {unit}"))
            .collect();
        lines.push(String::new());
        let best = self.best.iter();
        lines.extend(best.map(|(key, setting)| format!("{key}: {}", setting.as_str().unwrap_or_default())));
        lines.push(format!("{PREFIX} {RELEASE}; {} s each", self.seconds));
        lines.join("\n")
    }
}
