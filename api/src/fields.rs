//! Reads JSON objects field by field, so that each refusal names its field and says in plain words what belongs there.
//! An array is never read as an object whose fields come in order.

use crate::limits;
use crate::problem::Problem;
use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// The fields of an object, each as it was written.
pub(crate) struct Fields<'a> {
    /// Before the names of its fields, such as `labels.`; empty for the body itself.
    place: String,
    given: BTreeMap<String, &'a RawValue>,
}

impl<'a> Fields<'a> {
    /// The body's own fields.
    pub(crate) fn of_body(body: &'a RawValue) -> Result<Self, Problem> {
        Self::of("the body", String::new(), body)
    }

    fn of(what: &str, place: String, value: &'a RawValue) -> Result<Self, Problem> {
        let Ok(Object { given, twice }) = serde_json::from_str(value.get()) else {
            return Err(mismatch(what, "an object", value));
        };
        match twice {
            None => Ok(Self { place, given }),
            Some(name) => Err(invalid(format!("{place}{name} stands there twice"))),
        }
    }

    /// Refuses names that nobody reads, so that no slip of the pen changes what is asked for.
    pub(crate) fn known(&self, names: &[&str]) -> Result<(), Problem> {
        match self.given.keys().find(|name| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let detail = format!("there is no field {:?} here", format!("{}{name}", self.place));
                Err(Problem::unprocessable("unknown_field", detail).hint(format!("there are: {}", names.join(", "))))
            }
        }
    }

    /// As it was written, null too.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.given.get(name).copied()
    }

    /// None: it is absent or null.
    pub(crate) fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.raw(name).filter(|value| value.get() != "null")
    }

    /// Text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        self.read(name, "text", parsed)
    }

    /// True or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.read(name, "true or false", parsed)
    }

    /// A whole number, however it is written: 7 and 7.0 are the same in JSON.
    pub(crate) fn whole(&self, name: &str) -> Result<Option<i32>, Problem> {
        self.read(name, "a whole number of 32 bits", whole)
    }

    /// An instant.
    pub(crate) fn instant(&self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        self.read(name, "an instant such as \"2026-01-31T08:00:00Z\"", |value| {
            parsed::<String>(value)?.parse().ok()
        })
    }

    /// An array.
    pub(crate) fn array(&self, name: &str) -> Result<Option<Vec<&'a RawValue>>, Problem> {
        self.read(name, "an array", parsed)
    }

    /// An object of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Problem> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let full = format!("{}{name}", self.place);
        let fields = Self::of(&full, format!("{full}."), value)?;
        let mut texts = BTreeMap::new();
        for (name, value) in &fields.given {
            let text = parsed(value).ok_or_else(|| mismatch(&format!("{full}.{name}"), "text", value))?;
            texts.insert(name.clone(), text);
        }
        Ok(Some(texts))
    }

    /// What a field has to hold.
    pub(crate) fn required<T>(&self, name: &str, found: Option<T>, expected: &str) -> Result<T, Problem> {
        found.ok_or_else(|| {
            let stands = if self.raw(name).is_some() {
                "is null"
            } else {
                "is missing"
            };
            invalid(format!("{}{name} {stands}: expected {expected}", self.place))
        })
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&'a RawValue) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let told = || mismatch(&format!("{}{name}", self.place), expected, value);
        read(value).map(Some).ok_or_else(told)
    }
}

fn parsed<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

fn whole(value: &RawValue) -> Option<i32> {
    let number: Number = parsed(value)?;
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        format!("{float:.0}").parse().ok()
    });
    i32::try_from(whole?).ok()
}

fn mismatch(what: &str, expected: &str, value: &RawValue) -> Problem {
    let text = value.get();
    let found = match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'n') => "null",
        Some(_) if text.chars().count() <= limits::SHOWN_CHARS_MAX => text,
        Some(b'"') => "text",
        Some(_) | None => "a number",
    };
    invalid(format!("{what}: expected {expected}, found {found}"))
}

fn invalid(detail: String) -> Problem {
    Problem::unprocessable("invalid_body", detail)
}

struct Object<'a> {
    given: BTreeMap<String, &'a RawValue>,
    /// A name that comes more than once: which of its values is meant nobody can know.
    twice: Option<String>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object {
            given: BTreeMap::new(),
            twice: None,
        };
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if object.given.insert(name.clone(), value).is_some() {
                object.twice = Some(name);
            }
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests;
