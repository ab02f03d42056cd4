//! Keeps values that came from the environment out of what is stored and shown.
//!
//! A target may echo a token, a redirect may repeat a query, a program may print its variables. Every value that went
//! into one call is remembered here for as long as the call lasts, and [`Secrets::hide`] puts its reference back.

use std::fmt;

/// Shorter values are left alone: they are words like `prod` or `true`, and hiding them would garble honest text.
const VALUE_BYTES_MIN: usize = 6;

/// The values that went into one call.
#[derive(Default)]
pub(super) struct Secrets {
    /// Longest first, so that a value inside a longer one does not break it up.
    forms: Vec<Form>,
}

struct Form {
    text: String,
    reference: String,
}

impl Secrets {
    /// Remembers a value, in the forms in which it may come back.
    pub(super) fn remember(&mut self, name: &str, value: &str) {
        if value.len() < VALUE_BYTES_MIN {
            return;
        }
        let reference = format!("{{env:{name}}}");
        let mut texts = vec![value.to_owned()];
        texts.extend(as_in_json(value));
        texts.extend(as_in_url(value));
        for text in texts {
            if text.len() >= VALUE_BYTES_MIN && !self.forms.iter().any(|form| form.text == text) {
                let reference = reference.clone();
                self.forms.push(Form { text, reference });
            }
        }
        self.forms.sort_by_key(|form| std::cmp::Reverse(form.text.len()));
    }

    /// The text with references in the place of values.
    pub(super) fn hide(&self, mut text: String) -> String {
        for form in &self.forms {
            if text.contains(&form.text) {
                text = text.replace(&form.text, &form.reference);
            }
        }
        text
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets(..)")
    }
}

fn as_in_json(value: &str) -> Option<String> {
    let quoted = serde_json::to_string(value).ok()?;
    Some(quoted.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

/// As a URL's path and query hold it after parsing, and as a form field.
fn as_in_url(value: &str) -> Vec<String> {
    let mut forms = Vec::new();
    if let Ok(url) = reqwest::Url::parse(&format!("http://host/?{value}")) {
        forms.extend(url.query().map(str::to_owned));
    }
    if let Ok(url) = reqwest::Url::parse(&format!("http://host/{value}")) {
        forms.extend(url.path().strip_prefix('/').map(str::to_owned));
    }
    if let Ok(url) = reqwest::Url::parse_with_params("http://host/", [("k", value)]) {
        forms.extend(
            url.query()
                .and_then(|query| query.strip_prefix("k="))
                .map(str::to_owned),
        );
    }
    forms
}

#[cfg(test)]
mod tests;
