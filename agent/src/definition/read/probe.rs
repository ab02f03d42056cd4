//! A tool's table `probe`.

use super::form::Form;
use super::report::{Report, quote, shown};
use super::schema::from_toml;
use crate::definition::Tool;
use crate::definition::limits::AFTER_SECONDS;
use crate::effect::Effect;
use crate::probe::{Probe, Rule};
use serde_json::{Map, Value};
use toml::de::DeValue;

/// What the file says; `None` where there is none, or where something was reported.
pub(super) fn read_probe(report: &mut Report<'_>, form: &Form<'_>) -> Option<Probe> {
    if !form.has("probe") {
        return None;
    }
    let form = form.section(report, "probe");
    form.only(
        report,
        &["tool", "input", "after_seconds", "happened", "did_not_happen"],
    );
    let tool = form.required(report, "tool", "the name of a read_only tool of this agent");
    let input = read_input(report, &form);
    let after_seconds = form.small_number(report, "after_seconds", AFTER_SECONDS);
    let happened = read_rule(report, &form, "happened");
    let did_not_happen = read_rule(report, &form, "did_not_happen");
    let probe = Probe {
        tool: tool?,
        input: input?,
        after_seconds: after_seconds.unwrap_or(30),
        happened: happened?,
        did_not_happen: did_not_happen?,
    };
    if let Err(found) = probe.fields() {
        report.mistake(&form.at("input"), found, "{key}, or {field} of the call's input");
        return None;
    }
    Some(probe)
}

fn read_input(report: &mut Report<'_>, form: &Form<'_>) -> Option<Map<String, Value>> {
    let path = form.at("input");
    match form.value("input") {
        Some(value @ DeValue::Table(_)) => from_toml(report, &path, value, 1)?.as_object().cloned(),
        Some(other) => {
            report.mistake(&path, shown(other), "a table");
            None
        }
        None => {
            report.missing(&path, "what the probe is asked, such as { key = \"{key}\" }");
            None
        }
    }
}

fn read_rule(report: &mut Report<'_>, form: &Form<'_>, key: &str) -> Option<Rule> {
    let expected = "{ error = \"http_404\" }, { pointer = \"/id\" } or { pointer = \"/state\", equals = \"done\" }";
    if !form.has(key) {
        report.missing(&form.at(key), expected);
        return None;
    }
    let form = form.section(report, key);
    form.only(report, &["error", "pointer", "equals", "present"]);
    let error = form.text(report, "error");
    let pointer = form.value("pointer").map(|_| pointer(report, &form));
    let equals = form
        .value("equals")
        .and_then(|value| from_toml(report, &form.at("equals"), value, 1));
    let present = form.flag(report, "present");
    let reads = pointer.is_some() && !(equals.is_some() && present.is_some());
    let sound = match &error {
        Some(_) => pointer.is_none() && equals.is_none() && present.is_none(),
        None => reads,
    };
    if !sound {
        report.mistake(&form.path, "a rule that says too little or too much", expected);
        return None;
    }
    Some(Rule {
        error,
        pointer: pointer.flatten(),
        equals,
        present,
    })
}

/// A JSON pointer; the empty one means the whole answer.
fn pointer(report: &mut Report<'_>, form: &Form<'_>) -> Option<String> {
    let value = form.value("pointer")?;
    let pointer = value.as_str().filter(|text| text.is_empty() || text.starts_with('/'));
    if pointer.is_none() {
        report.mistake(&form.at("pointer"), shown(value), "a JSON pointer, such as /refund/id");
    }
    pointer.map(str::to_owned)
}

/// A probe asks another tool of the agent that changes nothing, and only for calls that may be in doubt.
pub(super) fn check_together(report: &mut Report<'_>, form: &Form<'_>, tools: &[Tool]) {
    let Some(tables) = form.value("tool").and_then(DeValue::as_array) else {
        return;
    };
    for (index, table) in tables.iter().enumerate() {
        let path = form.at("tool").index(index).key("probe");
        let name = table.get_ref().get("name").and_then(|name| name.get_ref().as_str());
        let Some((tool, probe)) = tools
            .iter()
            .find(|tool| Some(tool.name.as_str()) == name)
            .and_then(|tool| Some((tool, tool.probe.as_ref()?)))
        else {
            continue;
        };
        if !tool.effect.leaves_doubt() {
            let found = format!("a probe of a tool that is {}", tool.effect.as_str());
            report.mistake(&path, found, "none: nobody has to ask what became of its calls");
        }
        match tools.iter().find(|other| other.name == probe.tool) {
            None => report.mistake(
                &path.key("tool"),
                quote(&probe.tool),
                "the name of a tool of this agent",
            ),
            Some(other) if other.effect != Effect::ReadOnly => {
                let found = format!("{}, which is {}", quote(&probe.tool), other.effect.as_str());
                report.mistake(&path.key("tool"), found, "a tool that is read_only");
            }
            Some(_) => {}
        }
        let known = tool.input.as_ref().and_then(|schema| schema["properties"].as_object());
        let unknown = probe.fields().unwrap_or_default().into_iter();
        let unknown = unknown.filter(|field| known.is_some_and(|known| !known.contains_key(field)));
        for field in unknown {
            let found = format!("{{{field}}}, which is no field of {}", quote(&tool.name));
            report.mistake(&path.key("input"), found, "{key}, or {field} of the call's input");
        }
    }
}
