//! One attempt of a command tool: a local program, started without a shell.
//!
//! The program gets the input on standard input, the allow-listed variables, and nothing else of the worker's
//! environment. The whole input is there before the program starts, so that it is whole for a program that outlives its
//! worker too. It leads a process group of its own, and the group ends with the call, however the call ends: what the
//! program leaves behind in it is killed, so that nothing acts on after its step is recorded. A daemon that is meant to
//! stay must leave the group (`setsid`) and close its output.
//! Start at [`call`]; the program's life is in [`process`].

mod environment;
mod process;

use super::environment::Environment;
use super::limit::Limit;
use super::output::{self, Seen, Total};
use super::secrets::Secrets;
use super::{Attempt, Call};
use agent::definition::CommandTool;
use agent::{AttemptOutcome, ErrorClass, StepError, ToolOutcome};
use process::{Ended, Exit};
use serde_json::{Value, json};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

/// How much of the program's standard error is quoted.
const STDERR_SHOWN_BYTES: usize = 2 * 1024;

/// A stored request and the tool it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) tool: &'a CommandTool,
    pub(super) argv: &'a [String],
    pub(super) stdin: &'a str,
}

/// Makes one attempt.
pub(super) async fn call(environment: &Environment, call: &Call<'_>, start: Start<'_>) -> Attempt {
    let (variables, secrets) = environment::variables(environment, call, start.tool);
    let mut limit = Limit::of(call);
    let mut command = match command(start, variables) {
        Ok(command) => command,
        Err(error) => return Attempt::not_sent(error),
    };
    match limit.within(process::input(start.stdin)).await {
        Some(Ok(input)) => command.stdin(input),
        Some(Err(error)) => return Attempt::not_sent(input_not_written(&error)),
        None => return Attempt::not_sent(limit.expired()),
    };
    let ended = match process::run(command, &mut limit).await {
        Ok(ended) => ended,
        Err(error) => return Attempt::not_sent(not_started(start, &error)),
    };
    let stderr = secrets.hide(output::clean(ended.stderr.bytes()));
    let stderr = output::tail(&stderr, STDERR_SHOWN_BYTES).trim();
    Attempt {
        evidence: evidence(&ended, stderr, &limit),
        outcome: match &ended.exit {
            Exit::Status(status) => judge(*status, start.tool, stderr).unwrap_or_else(|| done(&ended, &secrets)),
            Exit::TimedOut => ambiguous(limit.expired()),
            Exit::Lost(why) => ambiguous(StepError::new(
                ErrorClass::Unknown,
                "command_lost",
                format!("the program was started, but its end cannot be learned: {why}"),
            )),
        },
    }
}

/// The program, not yet started.
fn command(start: Start<'_>, variables: Vec<(String, String)>) -> Result<tokio::process::Command, StepError> {
    let Some((program, arguments)) = start.argv.split_first() else {
        let error = StepError::new(
            ErrorClass::Permanent,
            "command_not_found",
            "the tool's argv names no program",
        );
        return Err(error.fatal());
    };
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(folder) = &start.tool.working_dir {
        if !std::path::Path::new(folder).is_dir() {
            let message = format!("the tool's working_dir {folder} is not a folder on this worker");
            return Err(StepError::new(ErrorClass::Permanent, "working_dir_not_found", message).fatal());
        }
        command.current_dir(folder);
    }
    Ok(command)
}

/// Nothing ran: the worker's folder for temporary files is full, or not there.
fn input_not_written(error: &io::Error) -> StepError {
    let message = format!("the program's input could not be written to a temporary file: {error}");
    StepError::new(ErrorClass::Transient, "command_input_not_written", message)
}

/// Nothing ran. What an operator must mend ends the run; what the input brought about goes to the model.
fn not_started(start: Start<'_>, error: &io::Error) -> StepError {
    let program = start.argv.first().map_or("", String::as_str);
    let message = format!("the program {program} could not be started: {error}");
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound || kind == io::ErrorKind::PermissionDenied || is_not_a_program(error) {
        StepError::new(ErrorClass::Permanent, "command_not_found", message)
            .suggest("install it on the worker, and look at the tool's argv and working_dir")
            .fatal()
    } else if kind == io::ErrorKind::InvalidInput || kind == io::ErrorKind::ArgumentListTooLong {
        StepError::new(ErrorClass::UserError, "command_arguments", message)
            .suggest("ask with shorter values and without NUL characters")
    } else {
        StepError::new(ErrorClass::Transient, "command_not_started", message)
    }
}

fn is_not_a_program(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::ENOEXEC as i32)
}

/// What a status says, if it is not success.
fn judge(status: ExitStatus, tool: &CommandTool, stderr: &str) -> Option<AttemptOutcome<ToolOutcome>> {
    if status.success() {
        return None;
    }
    let Some(code) = status.code() else {
        let signal = status.signal().map_or_else(|| "a signal".to_owned(), signal_name);
        let message = with_stderr(format!("the program was killed by {signal}"), stderr);
        return Some(ambiguous(StepError::new(
            ErrorClass::Transient,
            "killed_by_signal",
            message,
        )));
    };
    let class = if tool.transient_exit_codes.contains(&code) {
        ErrorClass::Transient
    } else {
        ErrorClass::Permanent
    };
    let message = with_stderr(format!("the program ended with exit code {code}"), stderr);
    let error = StepError::new(class, format!("exit_{code}"), message);
    Some(if tool.not_applied_exit_codes.contains(&code) {
        AttemptOutcome::NotApplied {
            error,
            retry_after: None,
        }
    } else {
        ambiguous(error)
    })
}

fn done(ended: &Ended, secrets: &Secrets) -> AttemptOutcome<ToolOutcome> {
    let seen = Seen {
        bytes: ended.stdout.bytes(),
        total: Total::Bytes(ended.stdout.total()),
    };
    let mut outcome = output::admit(seen, secrets);
    if ended.left_open {
        outcome
            .notes
            .push("a process that the program left behind held its output open and was killed".to_owned());
    }
    AttemptOutcome::Done(outcome)
}

fn evidence(ended: &Ended, stderr: &str, limit: &Limit) -> Value {
    let mut evidence = json!({
        "kind": "command",
        "stdout_bytes": ended.stdout.total(),
        "stderr_bytes": ended.stderr.total(),
        "limit": limit.evidence(),
    });
    if !stderr.is_empty() {
        evidence["stderr_tail"] = json!(stderr);
    }
    if ended.left_open {
        evidence["left_open"] = json!(true);
    }
    if let Exit::Status(status) = &ended.exit {
        if let Some(code) = status.code() {
            evidence["exit_code"] = json!(code);
        }
        if let Some(signal) = status.signal() {
            evidence["signal"] = json!(signal_name(signal));
        }
    }
    evidence
}

fn with_stderr(message: String, stderr: &str) -> String {
    if stderr.is_empty() {
        message
    } else {
        format!("{message}: {stderr}")
    }
}

fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

const fn ambiguous(error: StepError) -> AttemptOutcome<ToolOutcome> {
    AttemptOutcome::Ambiguous {
        error,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
