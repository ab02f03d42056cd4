//! Everything of a body but its tools and messages.

use serde_json::{Map, Value};

use super::{Endpoint, Judgement, Refusal, Request, VERSION_2026, only_fields, text};

const FIELDS: [&str; 20] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "stop_sequences",
    "stream",
    "metadata",
    "service_tier",
    "speed",
    "inference_geo",
    "container",
    "diagnostics",
    "temperature",
    "top_p",
    "top_k",
];
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];
const THINKING_TOKENS_MIN: u64 = 1_024;

pub(super) fn judge(request: &Request<'_>, body: &Map<String, Value>, version: &str) -> Judgement {
    if !request.has_beta {
        only_fields("", body, &FIELDS)?;
    }
    text("", body, "model")?;
    if version == VERSION_2026
        && let Some(field) = SAMPLING.into_iter().find(|field| body.contains_key(*field))
    {
        return Err(Refusal::invalid(format!(
            "{field}: sampling parameters are not supported in {VERSION_2026}"
        )));
    }
    let max_tokens = max_tokens(request.endpoint, body)?;
    judge_thinking(body, max_tokens)?;
    judge_system(body)?;
    judge_kinds(body)
}

fn max_tokens(endpoint: Endpoint, body: &Map<String, Value>) -> Result<Option<u64>, Refusal> {
    let streams = body.get("stream") == Some(&Value::Bool(true));
    match (endpoint, body.get("max_tokens")) {
        (Endpoint::CountTokens, None) => Ok(None),
        (Endpoint::CountTokens, Some(_)) => Err(Refusal::invalid("max_tokens: Extra inputs are not permitted")),
        (Endpoint::Messages, None) => Err(Refusal::invalid("max_tokens: Field required")),
        (Endpoint::Messages, Some(value)) => match value.as_u64() {
            Some(0) if streams => Err(Refusal::invalid("max_tokens: 0 cannot be combined with streaming")),
            Some(tokens) => Ok(Some(tokens)),
            None => Err(Refusal::invalid(
                "max_tokens: Input should be a valid integer, 0 or more",
            )),
        },
    }
}

fn judge_thinking(body: &Map<String, Value>, max_tokens: Option<u64>) -> Judgement {
    let Some(thinking) = body.get("thinking") else {
        return Ok(());
    };
    let budget = thinking["budget_tokens"].as_u64();
    match thinking["type"].as_str() {
        Some("adaptive" | "disabled" | "between_tools") => Ok(()),
        Some("enabled") => match (budget, max_tokens) {
            (Some(budget), Some(max)) if budget >= max => Err(Refusal::invalid(
                "thinking.enabled.budget_tokens: must be less than max_tokens",
            )),
            (Some(THINKING_TOKENS_MIN..), _) => Ok(()),
            _ => Err(Refusal::invalid(
                "thinking.enabled.budget_tokens: must be an integer of at least 1024",
            )),
        },
        Some(_) | None => Err(Refusal::invalid(
            "thinking.type: must be adaptive, enabled, disabled or between_tools",
        )),
    }
}

fn judge_system(body: &Map<String, Value>) -> Judgement {
    match body.get("system") {
        None | Some(Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) => {
            for (index, block) in blocks.iter().enumerate() {
                if block["type"] != "text" || block["text"].as_str().is_none_or(str::is_empty) {
                    return Err(Refusal::invalid(format!(
                        "system.{index}: must be a non-empty text block"
                    )));
                }
            }
            Ok(())
        }
        Some(_) => Err(Refusal::invalid("system: must be a string or a list of text blocks")),
    }
}

fn judge_kinds(body: &Map<String, Value>) -> Judgement {
    if body.get("stream").is_some_and(|stream| !stream.is_boolean()) {
        return Err(Refusal::invalid("stream: Input should be a valid boolean"));
    }
    let texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    if body.get("stop_sequences").is_some_and(|list| !texts(list)) {
        return Err(Refusal::invalid("stop_sequences: must be a list of strings"));
    }
    if let Some(metadata) = body.get("metadata") {
        let metadata = metadata
            .as_object()
            .ok_or_else(|| Refusal::invalid("metadata: must be an object"))?;
        only_fields("metadata.", metadata, &["user_id"])?;
    }
    match body.get("service_tier").map(Value::as_str) {
        None | Some(Some("auto" | "standard_only")) => {}
        Some(_) => return Err(Refusal::invalid("service_tier: must be auto or standard_only")),
    }
    judge_output_config(body)
}

fn judge_output_config(body: &Map<String, Value>) -> Judgement {
    let Some(config) = body.get("output_config") else {
        return Ok(());
    };
    match config.get("effort").map(Value::as_str) {
        None | Some(Some("low" | "medium" | "high" | "xhigh" | "max")) => {}
        Some(_) => {
            return Err(Refusal::invalid(
                "output_config.effort: must be low, medium, high, xhigh or max",
            ));
        }
    }
    let Some(format) = config.get("format").filter(|format| !format.is_null()) else {
        return Ok(());
    };
    if format["type"] != "json_schema" || !format["schema"].is_object() {
        return Err(Refusal::invalid(
            "output_config.format: must be {type: json_schema, schema: {…}}",
        ));
    }
    Ok(())
}
