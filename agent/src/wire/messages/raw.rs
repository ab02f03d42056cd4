//! JSON objects whose values stay the text they came as, and whose keys keep their order.

use super::{ApiError, WireError};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// An object as it came. Of a key given twice, the last value counts.
#[derive(Debug, Clone, Default)]
pub(super) struct RawObject {
    entries: Vec<(String, Box<RawValue>)>,
}

impl RawObject {
    /// The object of that text, or nothing if it is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of a key, as it came.
    pub(super) fn get(&self, key: &str) -> Option<&RawValue> {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| &**value)
    }

    /// The value of a key that holds a string.
    pub(super) fn string(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?.get()).ok()
    }

    /// The value of a key that holds an object.
    pub(super) fn object(&self, key: &str) -> Option<Self> {
        Self::parse(self.get(key)?.get())
    }

    /// Takes the place of the key's value, or goes to the end.
    pub(super) fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, held)) => *held = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// Takes the other's values, but never a null in the place of something.
    pub(super) fn overwrite(&mut self, other: Self) {
        for (key, value) in other.entries {
            if !is_null(&value) || self.get(&key).is_none() {
                self.set(&key, value);
            }
        }
    }

    /// Without those keys.
    pub(super) fn without(mut self, keys: &[&str]) -> Self {
        self.entries.retain(|(name, _)| !keys.contains(&name.as_str()));
        self
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// As JSON text; every value is the text it came as.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::from("{");
        for (position, (key, value)) in self.entries.iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            text.push_str(&json_string(key));
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawObject;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut object = RawObject::default();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    object.set(&key, value);
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A JSON string literal.
pub(super) fn json_string(text: &str) -> String {
    Value::from(text).to_string()
}

/// The text as a value, if it is JSON.
pub(super) fn raw_value(text: String) -> Result<Box<RawValue>, WireError> {
    RawValue::from_string(text).map_err(|_| WireError::Malformed("an assembled value is not JSON"))
}

pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The error that an error body or an `error` event describes.
pub(super) fn api_error(body: &RawObject) -> Option<ApiError> {
    let error = body.object("error")?;
    Some(ApiError {
        kind: error.string("type").unwrap_or_else(|| "unknown_error".to_owned()),
        message: error.string("message").unwrap_or_default(),
        error_code: error.object("details").and_then(|details| details.string("error_code")),
        request_id: body.string("request_id"),
    })
}
