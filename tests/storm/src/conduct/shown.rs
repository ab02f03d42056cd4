//! What the model was shown, in a few words for the judge: which calls it had asked for, and what it was told of each.

use crate::record::{Exchange, Log, Shown, Told};
use rehearsal::Asked;
use serde_json::Value;
use std::path::Path;

/// Writes `model.jsonl`.
pub(super) fn write(asked: &[Asked], folder: &Path) -> anyhow::Result<()> {
    let shown: Vec<Shown> = asked.iter().filter_map(shown).collect();
    Log::open(&folder.join("model.jsonl"))?.write(&shown)
}

fn shown(asked: &Asked) -> Option<Shown> {
    let body: Value = serde_json::from_str(&asked.body).ok()?;
    let messages = body["messages"].as_array()?;
    let first = messages.first()?;
    let input = text(&first["content"])?;
    let input: Value = serde_json::from_str(&input).ok()?;
    let exchanges = messages.windows(2).filter_map(|pair| match pair {
        [said, answered] => exchange(said, answered),
        _ => None,
    });
    Some(Shown {
        run: input["run"].as_str()?.parse().ok()?,
        exchanges: exchanges.collect(),
    })
}

/// Calls, and the message behind them.
fn exchange(said: &Value, answered: &Value) -> Option<Exchange> {
    let calls = blocks(said, "tool_use");
    let asked: Vec<Told> = calls
        .map(|call| Told {
            id: call["id"].as_str().unwrap_or_default().to_owned(),
            effect: call["input"]["effect"].as_str().map(ToOwned::to_owned),
        })
        .collect();
    let results = blocks(answered, "tool_result");
    let told = results.map(|result| Told {
        id: result["tool_use_id"].as_str().unwrap_or_default().to_owned(),
        effect: text(&result["content"]).as_deref().and_then(effect),
    });
    (said["role"] == "assistant" && !asked.is_empty()).then(|| Exchange {
        asked,
        told: told.collect(),
    })
}

fn blocks<'a>(message: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    let content = message["content"].as_array().into_iter().flatten();
    content.filter(move |block| block["type"] == kind)
}

/// Content is a text, or blocks of which the first is one.
fn text(content: &Value) -> Option<String> {
    let text = content.as_str().or_else(|| content[0]["text"].as_str());
    text.map(ToOwned::to_owned)
}

/// The receipt in a result, if there is one.
fn effect(text: &str) -> Option<String> {
    let receipt: Value = serde_json::from_str(text.lines().next()?).ok()?;
    receipt["effect"].as_str().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_call_stands_beside_what_the_model_was_told_of_it() {
        let call = |id: &str, effect: &str| json!({"type": "tool_use", "id": id, "input": {"effect": effect}});
        let result = |id: &str, text: &str| {
            let content = json!([{"type": "text", "text": text}]);
            json!({"type": "tool_result", "tool_use_id": id, "content": content})
        };
        let messages = json!([
            {"role": "user", "content": r#"{"run":"7","shape":"shape-01"}"#},
            {"role": "assistant", "content": [call("a", "r7-t1-c0"), call("b", "r7-t1-c1")]},
            {"role": "user", "content": [result("a", r#"{"effect":"r7-t1-c0","receipt":3}"#), result("b", "it failed")]},
        ]);
        let asked = Asked {
            order: 1,
            request_id: String::new(),
            path: String::new(),
            headers: std::collections::BTreeMap::new(),
            body: json!({ "messages": messages }).to_string(),
            rule: None,
            answer: rehearsal::AnswerKind::Stream,
        };

        let shown = shown(&asked).unwrap();

        assert_eq!(shown.run, 7);
        let told = |id: &str, effect: Option<&str>| Told {
            id: id.to_owned(),
            effect: effect.map(ToOwned::to_owned),
        };
        let exchange = &shown.exchanges[0];
        assert_eq!(
            exchange.asked,
            [told("a", Some("r7-t1-c0")), told("b", Some("r7-t1-c1"))]
        );
        assert_eq!(exchange.told, [told("a", Some("r7-t1-c0")), told("b", None)]);
    }
}
