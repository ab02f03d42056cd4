//! The agent that all runs of a storm are of, as a file: each way to call a tool with each thing it may promise.

use crate::plan::Call;
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
    let mut text = HEAD.to_owned();
    for front in Front::ALL {
        for declared in Declared::ALL {
            text.push_str(&tool(Call { front, declared }, note));
            text.push_str(INPUT);
        }
    }
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
retry = {{ attempts_max = 20, initial_ms = 50, cap_ms = 1000 }}
{how}
"#,
        name = call.tool(),
        front = call.front.as_str(),
        declared = call.declared.as_str(),
    )
}
