//! The agent that all runs of a storm are of, as a file: each way to call a tool with each thing it may promise.

use crate::plan::{CALLS_MAX, Call};
use crate::record::{Declared, Front};
use std::path::Path;

const HEAD: &str = r#"name = "storm"
system = "You do as the script says."

[model]
name = "claude-sonnet-4-5"
max_tokens = 1024
timeout_seconds = 5
idle_timeout_seconds = 5
retry = { attempts_max = 50, initial_ms = 50, cap_ms = 1000 }

[model.breaker]
enabled = false
"#;

/// Who fails does so on purpose: kept from it, a run would not come to what is planned for it.
const NO_BREAKER: &str = r#"
[tool.breaker]
enabled = false
"#;

/// Who is asked what became of calls over HTTP that may not be repeated; of the others people are.
const LOOK_UP: &str = r#"
[[tool]]
name = "look_up"
description = "Tells what became of a key. Use it when a call's outcome is not known, and never otherwise."
kind = "http"
effect = "read_only"
timeout_seconds = 2
retry = { attempts_max = 20, initial_ms = 50, cap_ms = 1000 }
method = "POST"
url = "{env:LEDGER_URL}/look"
allow_hosts = ["127.0.0.1"]

[tool.input]
type = "object"
required = ["key"]
additionalProperties = false

[tool.input.properties]
key = { type = "string" }
"#;

const PROBE: &str = r#"
[tool.probe]
tool = "look_up"
input = { key = "{key}" }
after_seconds = 1
happened = { pointer = "/happened", equals = true }
did_not_happen = { pointer = "/happened", equals = false }
"#;

const INPUT: &str = r#"
[tool.input]
type = "object"
required = ["effect", "front", "declared"]
additionalProperties = false

[tool.input.properties]
effect = { type = "string" }
front = { type = "string" }
declared = { type = "string" }
"#;

/// The file's text. `note` is the program that a command tool starts.
pub(super) fn toml(note: &Path) -> String {
    let mut text = format!("{HEAD}\n[limits]\ntool_calls_per_turn_max = {CALLS_MAX}\n");
    for front in Front::ALL {
        for declared in Declared::ALL {
            text.push_str(&tool(Call { front, declared }, note));
            text.push_str(INPUT);
            if (front, declared) == (Front::Http, Declared::AtMostOnce) {
                text.push_str(PROBE);
            }
            text.push_str(NO_BREAKER);
        }
    }
    text.push_str(LOOK_UP);
    text.push_str(NO_BREAKER);
    text
}

fn tool(call: Call, note: &Path) -> String {
    let how = match call.front {
        Front::Http => "method = \"POST\"\nurl = \"{env:LEDGER_URL}/http\"\nallow_hosts = [\"127.0.0.1\"]".to_owned(),
        // A string of Rust's, escaped, is one of TOML's for all that paths hold.
        Front::Command => format!(
            "argv = [{:?}, \"note\"]\nenv = [\"LEDGER_URL\"]\nnot_applied_exit_codes = [10]",
            note.display().to_string()
        ),
        Front::Function => "function = \"note_effect\"".to_owned(),
    };
    format!(
        r#"
[[tool]]
name = "{name}"
description = "Tells the ledger. Use it when the script says so, and never otherwise."
kind = "{front}"
effect = "{declared}"
timeout_seconds = 2
retry = {{ attempts_max = {attempts_max}, initial_ms = 50, cap_ms = 1000 }}
{how}
"#,
        name = call.tool(),
        front = call.front.as_str(),
        declared = call.declared.as_str(),
        attempts_max = call.declared.attempts_max(),
    )
}
