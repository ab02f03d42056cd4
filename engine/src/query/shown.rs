//! Payloads as readers are shown them.

use serde::Serialize;
use serde_json::Value;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::types::Json;
use sqlx::{Decode, Postgres, Type};

/// A recorded payload. Postgres holds JSON that a [`Value`] cannot, such as the number 1e400 or nesting beyond the
/// parser's limit; a model may write it, and its run must stay readable. Such a payload is a string: its exact text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Shown(pub Value);

impl Shown {
    fn of(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
    }
}

impl std::ops::Deref for Shown {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl From<Value> for Shown {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl Type<Postgres> for Shown {
    fn type_info() -> PgTypeInfo {
        <Json<Value> as Type<Postgres>>::type_info()
    }

    fn compatible(kind: &PgTypeInfo) -> bool {
        <Json<Value> as Type<Postgres>>::compatible(kind)
    }
}

impl<'r> Decode<'r, Postgres> for Shown {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = value.as_str()?;
        // On the wire jsonb begins with the number of its version, which is 1; json does not, and no JSON text can.
        Ok(Self::of(text.strip_prefix('\u{1}').unwrap_or(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;
    use serde_json::{Value, json};

    #[test]
    fn what_a_value_can_hold_is_shown_as_it_is() {
        assert_eq!(Shown::of(r#"{"a":[1,null]}"#).0, json!({"a": [1, null]}));
    }

    #[test]
    fn what_no_value_can_hold_is_shown_as_its_exact_text() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        for text in [r#"{"n": 1e400}"#, r#"["\ud800"]"#, &deep] {
            assert_eq!(Shown::of(text).0, Value::String(text.to_owned()));
        }
    }
}
