//! One table of the file, read key by key. What is wrong is reported, and reading goes on with what is right.

use super::report::{Path, Report, quote, shown};
use crate::definition::limits::Number;
use toml::de::{DeTable, DeValue};

/// A table and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Form<'t> {
    pub(super) path: Path,
    table: Option<&'t DeTable<'t>>,
}

impl<'t> Form<'t> {
    pub(super) const fn new(path: Path, table: &'t DeTable<'t>) -> Self {
        Self {
            path,
            table: Some(table),
        }
    }

    /// Reports every key that is not among the known ones.
    pub(super) fn only(&self, report: &mut Report<'_>, known: &[&str]) {
        for key in self.keys() {
            if !known.contains(&key) {
                report.mistake(&self.path.key(key), "an unknown key", closest(key, known));
            }
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'t str> {
        self.table.into_iter().flatten().map(|(key, _)| key.get_ref().as_ref())
    }

    pub(super) fn at(&self, key: &str) -> Path {
        self.path.key(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub(super) fn value(&self, key: &str) -> Option<&'t DeValue<'t>> {
        self.table?.get(key).map(|value| value.get_ref())
    }

    /// The table under that key; an empty one where there is none.
    pub(super) fn section(&self, report: &mut Report<'_>, key: &str) -> Self {
        let table = match self.value(key) {
            None => None,
            Some(DeValue::Table(table)) => Some(table),
            Some(other) => {
                report.mistake(&self.at(key), shown(other), "a table");
                None
            }
        };
        Self {
            path: self.at(key),
            table,
        }
    }

    /// Text that says something.
    pub(super) fn text(&self, report: &mut Report<'_>, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        if text.is_none() {
            let expected = match value.as_str() {
                Some(_) => "text that is not empty",
                None => "text",
            };
            report.mistake(&self.at(key), shown(value), expected);
        }
        text.map(str::to_owned)
    }

    /// Text that has to be there.
    pub(super) fn required(&self, report: &mut Report<'_>, key: &str, expected: &str) -> Option<String> {
        if !self.has(key) {
            report.missing(&self.at(key), expected);
        }
        self.text(report, key)
    }

    /// A number within its bounds.
    pub(super) fn number(&self, report: &mut Report<'_>, key: &str, bounds: Number) -> Option<u64> {
        integer(report, &self.at(key), self.value(key)?, bounds)
    }

    /// The same for a number that is kept in 32 bits; the bounds see to that it fits.
    pub(super) fn small_number(&self, report: &mut Report<'_>, key: &str, bounds: Number) -> Option<u32> {
        self.number(report, key, bounds)
            .and_then(|number| u32::try_from(number).ok())
    }

    /// True or false.
    pub(super) fn flag(&self, report: &mut Report<'_>, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        if value.as_bool().is_none() {
            report.mistake(&self.at(key), shown(value), "true or false");
        }
        value.as_bool()
    }

    /// One of a few words, as what it stands for.
    pub(super) fn choice<T: Copy>(&self, report: &mut Report<'_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.value(key)?;
        let chosen = value
            .as_str()
            .and_then(|word| choices.iter().find(|(name, _)| *name == word));
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            report.mistake(&self.at(key), shown(value), format!("one of {}", names.join(", ")));
        }
        chosen.map(|(_, choice)| *choice)
    }

    /// A list, each item with its place.
    pub(super) fn list(
        &self,
        report: &mut Report<'_>,
        key: &str,
        items_max: usize,
    ) -> Option<Vec<(Path, &'t DeValue<'t>)>> {
        let value = self.value(key)?;
        let Some(items) = value.as_array() else {
            report.mistake(&self.at(key), shown(value), "a list in [ ]");
            return None;
        };
        if items.len() > items_max {
            report.mistake(
                &self.at(key),
                format!("{} items", items.len()),
                format!("at most {items_max}"),
            );
            return None;
        }
        let items = items.iter().enumerate();
        Some(
            items
                .map(|(index, item)| (self.at(key).index(index), item.get_ref()))
                .collect(),
        )
    }

    /// A list of texts, as far as they are.
    pub(super) fn texts(&self, report: &mut Report<'_>, key: &str, items_max: usize) -> Option<Vec<(Path, String)>> {
        let mut texts = Vec::new();
        for (path, item) in self.list(report, key, items_max)? {
            match item.as_str() {
                Some(text) => texts.push((path, text.to_owned())),
                None => report.mistake(&path, shown(item), "text"),
            }
        }
        Some(texts)
    }
}

/// A whole number within its bounds.
pub(super) fn integer(report: &mut Report<'_>, path: &Path, value: &DeValue<'_>, bounds: Number) -> Option<u64> {
    let Number { min, max, why } = bounds;
    let number = value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
    let fitting = number.filter(|number| (min..=max).contains(number));
    if fitting.is_none() {
        report.mistake(
            path,
            shown(value),
            format!("a whole number from {min} to {max} ({why})"),
        );
    }
    fitting
}

/// What was probably meant, or else everything that is known.
pub(super) fn closest(found: &str, known: &[&str]) -> String {
    let near = known.iter().map(|name| (distance(found, name), name)).min();
    match near {
        // A third of the letters may be wrong, as with "efect" or "tools".
        Some((distance, name)) if distance * 3 <= name.len().max(3) => format!("{name} (did you mean that?)"),
        Some(_) => format!("one of {}", known.join(", ")),
        None => format!("no such key as {}", quote(found)),
    }
}

/// Letters to add, drop or replace on the way from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    // A longer word is near to nothing; this bounds the work too.
    if from.len() > 64 {
        return usize::MAX / 3;
    }
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (at, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}
