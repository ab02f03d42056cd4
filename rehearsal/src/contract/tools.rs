//! Tool definitions, the choice among them, and cache breakpoints.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Judgement, Refusal, is_tool_name};
use crate::limits::CACHE_BREAKPOINTS_MAX;

/// Models that refuse to be forced to a tool.
const UNFORCED_MODELS: [&str; 4] = [
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-fable-5-1",
    "claude-mythos-preview",
];

pub(super) fn judge(body: &Map<String, Value>) -> Judgement {
    let names = judge_definitions(body)?;
    judge_choice(body, &names)?;
    judge_breakpoints(body)
}

fn judge_definitions(body: &Map<String, Value>) -> Result<HashSet<&str>, Refusal> {
    let mut names = HashSet::new();
    let Some(tools) = body.get("tools") else {
        return Ok(names);
    };
    let tools = tools
        .as_array()
        .ok_or_else(|| Refusal::invalid("tools: must be a list"))?;
    for (index, tool) in tools.iter().enumerate() {
        let name = tool["name"].as_str().unwrap_or_default();
        if !is_tool_name(name) {
            return Err(Refusal::invalid(format!(
                "tools.{index}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
            )));
        }
        if !names.insert(name) {
            return Err(Refusal::invalid(format!(
                "tools: Tool names must be unique, `{name}` comes twice"
            )));
        }
        let is_custom = matches!(tool.get("type").map(Value::as_str), None | Some(Some("custom")));
        if is_custom && tool["input_schema"]["type"] != "object" {
            return Err(Refusal::invalid(format!(
                "tools.{index}.input_schema.type: must be object"
            )));
        }
        if tool
            .get("description")
            .is_some_and(|description| !description.is_string())
        {
            return Err(Refusal::invalid(format!(
                "tools.{index}.description: Input should be a valid string"
            )));
        }
    }
    Ok(names)
}

fn judge_choice(body: &Map<String, Value>, names: &HashSet<&str>) -> Judgement {
    let Some(choice) = body.get("tool_choice") else {
        return Ok(());
    };
    if names.is_empty() {
        return Err(Refusal::invalid(
            "tool_choice: may only be specified while providing tools",
        ));
    }
    let kind = choice["type"].as_str().unwrap_or_default();
    let parallel = choice.get("disable_parallel_tool_use");
    if parallel.is_some_and(|value| kind == "none" || !value.is_boolean()) {
        return Err(Refusal::invalid(format!(
            "tool_choice.{kind}.disable_parallel_tool_use: is not permitted"
        )));
    }
    match kind {
        "auto" | "none" => return Ok(()),
        "any" => {}
        "tool" => {
            let name = choice["name"].as_str().unwrap_or_default();
            if !names.contains(name) {
                return Err(Refusal::invalid(format!(
                    "tool_choice.name: Tool '{name}' not found in provided tools"
                )));
            }
        }
        _ => return Err(Refusal::invalid("tool_choice.type: must be auto, any, tool or none")),
    }
    if body
        .get("thinking")
        .is_some_and(|thinking| thinking["type"] == "enabled")
    {
        return Err(Refusal::invalid(
            "tool_choice: thinking may not be enabled when tool_choice forces tool use",
        ));
    }
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    if UNFORCED_MODELS.iter().any(|unforced| model.starts_with(unforced)) {
        return Err(Refusal::invalid(format!(
            "tool_choice: `{kind}` is not supported by {model}"
        )));
    }
    Ok(())
}

fn judge_breakpoints(body: &Map<String, Value>) -> Judgement {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let of_list = |value: Option<&Value>| value.map(list).unwrap_or_default();
    let mut places = of_list(body.get("tools"));
    places.extend(of_list(body.get("system")));
    places.extend(
        of_list(body.get("messages"))
            .iter()
            .flat_map(|message| list(&message["content"])),
    );
    let mut breakpoints = usize::from(body.get("cache_control").is_some_and(Value::is_object));
    for place in &places {
        if place.get("cache_control").is_none_or(Value::is_null) {
            continue;
        }
        if place["type"] == "thinking" || place["type"] == "redacted_thinking" {
            return Err(Refusal::invalid("cache_control: is not permitted on thinking blocks"));
        }
        if place["cache_control"]["type"] != "ephemeral" {
            return Err(Refusal::invalid("cache_control.type: must be ephemeral"));
        }
        breakpoints += 1;
    }
    if breakpoints > CACHE_BREAKPOINTS_MAX {
        return Err(Refusal::invalid(format!(
            "a maximum of {CACHE_BREAKPOINTS_MAX} blocks with cache_control may be provided, found {breakpoints}"
        )));
    }
    Ok(())
}
