//! What an agent may do and spend: the content of one agent version.
//!
//! A definition is data. [`read`](read::read) turns a TOML file into an [`Agent`] and tells every mistake at once;
//! the normalised JSON of an [`Agent`] is what is stored, digested and kept by each run.

pub mod digest;
mod limits;
pub mod read;

pub use digest::digest_text;
pub use read::{Mistake, Readout, read};

use crate::effect::Effect;
use crate::fallback::{CachePolicy, Fallback};
use crate::gate::{Breaker, CallLimit};
use crate::probe::Probe;
use crate::sanitise::Sanitise;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// An agent version's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Lower-case letters, digits and `-`, at most 63 characters.
    pub name: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The system prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Which model is called and how.
    pub model: Model,
    /// Bounds on a run.
    pub limits: Limits,
    /// What a refusal by the model leads to.
    pub on_refusal: OnRefusal,
    /// Whether the model is told, after the results of a turn, that most of its calls failed. Absent in versions of
    /// before there was such a summary: their recorded requests are built as they were.
    #[serde(default, skip_serializing_if = "is_false")]
    pub summarise_failures: bool,
    /// The tools offered to the model, in the order given.
    pub tools: Vec<Tool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_true(flag: &bool) -> bool {
    *flag
}

const fn yes() -> bool {
    true
}

impl Agent {
    /// The tool of that name.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// Names of the Rust functions that a worker must have registered to drive a run of this agent.
    pub fn functions(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .tools
            .iter()
            .filter_map(|tool| match &tool.action {
                ToolAction::Function(function) => Some(function.function.clone()),
                ToolAction::Http(_) | ToolAction::Command(_) | ToolAction::Sql(_) => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The model and how it is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The provider's model id.
    pub name: String,
    /// Sent as `anthropic-version`; written into the definition when it is applied, so that a run keeps it.
    pub api_version: String,
    /// Upper bound of output tokens of one call; always sent.
    pub max_tokens: u32,
    /// Whether replies are streamed.
    pub stream: bool,
    /// Longest time one call may take in all.
    pub timeout_seconds: u32,
    /// Longest time until an answer begins, connecting included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout_seconds: Option<u32>,
    /// Longest silence within a stream; pings count as life.
    pub idle_timeout_seconds: u32,
    /// How often and how long a call is tried.
    pub retry: RetryPolicy,
    /// When the endpoint is no longer called for a while.
    #[serde(default, skip_serializing_if = "Breaker::is_usual")]
    pub breaker: Breaker,
}

impl Model {
    /// Used when a file names no `api_version`.
    pub const API_VERSION: &'static str = "2023-06-01";
}

/// Bounds on one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Answered model calls in one run; on the last one tools are switched off.
    pub turns_max: u32,
    /// Tool calls of one turn that are run; those beyond get an error result.
    pub tool_calls_per_turn_max: u32,
    /// Longest time from the intents of a turn's calls to the last of their ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_seconds: Option<u64>,
    /// From the run's start to its end, waiting included.
    pub wall_clock_seconds: u64,
    /// Whether calls of one turn may be out at the same time. The provider is asked for one at most where they may not,
    /// and several are made one after the other.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub parallel_tool_calls: bool,
}

/// What a refusal by the model leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRefusal {
    /// The run fails.
    Fail,
    /// The run waits for a person.
    Ask,
}

/// How often and how long one step is tried. One budget per step, shared by every layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts that the target answers or lets time out. Attempts cut by a worker's crash are not counted here:
    /// the run's own crash count bounds those.
    pub attempts_max: u32,
    /// First delay, before jitter.
    pub initial_ms: u64,
    /// Longest delay, before jitter. A `retry-after` told by the target may be longer.
    pub cap_ms: u64,
    /// From the first attempt on, no attempt starts after this.
    pub horizon_seconds: u64,
}

/// A function offered to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// As the model sees it: `^[a-zA-Z0-9_-]{1,64}$`.
    pub name: String,
    /// As the model sees it.
    pub description: String,
    /// How the tool may be repeated.
    pub effect: Effect,
    /// JSON Schema of the input, an object. Absent for function tools: their worker derives it from the Rust type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Whether the provider is asked to enforce the schema. The engine always validates.
    pub strict: bool,
    /// Longest time one attempt may take.
    pub timeout_seconds: u32,
    /// How often and how long a call is tried.
    pub retry: RetryPolicy,
    /// Who learns of a call that failed for good.
    pub on_error: OnError,
    /// How a call of unknown outcome is looked up before a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// How long its results may be told again. Only of tools that are `read_only`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePolicy>,
    /// How a call that failed for good is answered, tried in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
    /// Tools whose calls of the same turn have ended before one of this tool begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Whether several of its calls may be out in one turn at the same time.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub parallel: bool,
    /// What is changed in what it is asked, and in what it answers.
    #[serde(default, skip_serializing_if = "Sanitise::is_empty")]
    pub sanitise: Sanitise,
    /// When it is no longer called for a while.
    #[serde(default, skip_serializing_if = "Breaker::is_usual")]
    pub breaker: Breaker,
    /// How many calls may be out at once, and go out in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<CallLimit>,
    /// What is done when the model calls it.
    #[serde(flatten)]
    pub action: ToolAction,
}

impl Tool {
    /// Longest time one attempt may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_seconds))
    }
}

/// Who learns of a call that failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The model, as an error result; the run goes on.
    TellModel,
    /// The run fails and can be resumed once the cause is mended.
    FailRun,
}

/// What a tool does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToolAction {
    /// An HTTP request.
    Http(HttpTool),
    /// A local program, started without a shell.
    Command(CommandTool),
    /// A function registered in the worker's Rust program.
    Function(FunctionTool),
    /// One SQL statement.
    Sql(SqlTool),
}

/// An HTTP request made from a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpTool {
    /// Upper case.
    pub method: String,
    /// Template: `{field}` takes an input field, percent-encoded; `{env:NAME}` is resolved at sending, never stored.
    pub url: String,
    /// Values may hold `{env:NAME}`, resolved at sending, never stored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The header that carries the engine's key.
    pub idempotency_header: String,
    /// Hosts that the tool may reach although they are not on the public internet, each with its port or with any:
    /// see [`AllowedHost`](crate::tool::address::AllowedHost).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_hosts: Vec<String>,
    /// Longest time until a connection stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_seconds: Option<u32>,
    /// Longest time until a reply's head is there, connecting included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout_seconds: Option<u32>,
    /// Longest silence within a reply's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u32>,
}

/// A local program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandTool {
    /// Program and arguments. `{field}` takes an input field within one argument; no shell ever sees it.
    pub argv: Vec<String>,
    /// Names of the worker's environment variables that the program may see, besides `PATH`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Where it starts; relative to the worker's own folder. Its scratch folder where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Exit codes that say for certain that nothing was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_applied_exit_codes: Vec<i32>,
    /// Exit codes after which trying again may help. Default 75, `EX_TEMPFAIL` of sysexits.h.
    pub transient_exit_codes: Vec<i32>,
    /// What the program may use.
    #[serde(default)]
    pub limits: CommandLimits,
}

/// What a program and all that it starts may use. One that goes beyond is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandLimits {
    /// Memory that is present, of all its processes together, in MiB.
    pub memory_mib: u32,
    /// Standard output and standard error together, in MiB.
    pub output_mib: u32,
    /// All that lies in its scratch folder, and any one file that it writes anywhere, in MiB.
    pub scratch_mib: u32,
    /// Processes at the same time, the program's own included.
    pub processes_max: u32,
    /// Files that one process has open.
    pub open_files_max: u32,
}

impl Default for CommandLimits {
    fn default() -> Self {
        Self {
            memory_mib: 1_024,
            output_mib: 64,
            scratch_mib: 256,
            processes_max: 64,
            open_files_max: 1_024,
        }
    }
}

/// A function registered in the worker's Rust program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionTool {
    /// The name under which it is registered.
    pub function: String,
}

/// One statement, on a database that the worker's configuration names or on the engine's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SqlTool {
    /// `{field}` takes an input field, as a parameter: see [`tool::sql`](crate::tool::sql).
    pub statement: String,
    /// As the worker's configuration names it. Absent: the engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Rows shown; more are cut with a note.
    pub row_limit: u32,
}
