//! One attempt of a command tool: a local program, started without a shell.
//!
//! The program gets the input on standard input, a folder for itself, the allow-listed variables, and nothing else of
//! the worker's environment. The whole input is there before the program starts, so that it is whole for a program that
//! outlives its worker too. What it may use is bounded, and all that it has brought into being ends with the call,
//! however the call ends, so that nothing acts on after its step is recorded.
//! Start at [`call`]; the program's life is in [`process`].

mod bounds;
mod environment;
mod family;
mod process;
mod scratch;

use super::environment::Environment;
use super::limit::Limit;
use super::output::{self, Seen, Total};
use super::secrets::Secrets;
use super::{Attempt, Call};
use agent::definition::{CommandLimits, CommandTool};
use agent::{AttemptOutcome, ErrorClass, StepError, ToolOutcome};
use bounds::Bound;
use nix::sys::signal::Signal;
use process::{Ended, Exit, Means};
use serde_json::{Value, json};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
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
    let mut limit = Limit::of(call);
    let Means { input, scratch } = match limit.within(Means::make(start.stdin)).await {
        Some(Ok(means)) => means,
        Some(Err(error)) => return Attempt::not_sent(means_not_made(&error)),
        None => return Attempt::not_sent(limit.expired()),
    };
    let (variables, secrets) = environment::variables(environment, call, (start.tool, scratch.path()));
    let mut command = match command(start, variables, scratch.path()) {
        Ok(command) => command,
        Err(error) => return Attempt::not_sent(error),
    };
    command.stdin(input);
    let limits = start.tool.limits;
    let ended = match process::run(command, &mut limit, (limits, scratch)).await {
        Ok(ended) => ended,
        Err(error) => return Attempt::not_sent(not_started(start, &error)),
    };
    let stderr = secrets.hide(output::clean(ended.stderr.bytes()));
    let stderr = output::tail(&stderr, STDERR_SHOWN_BYTES).trim();
    Attempt {
        evidence: evidence(&ended, stderr, (&limit, &limits)),
        outcome: match &ended.exit {
            Exit::Status(status) => judge(*status, start.tool, stderr).unwrap_or_else(|| done(&ended, &secrets)),
            Exit::TimedOut => ambiguous(limit.expired()),
            Exit::Beyond(bound) => ambiguous(bound.error(&limits)),
            Exit::Lost(why) => ambiguous(StepError::new(
                ErrorClass::Unknown,
                "command_lost",
                format!("the program was started, but its end cannot be learned: {why}"),
            )),
        },
    }
}

/// The program, not yet started.
fn command(
    start: Start<'_>,
    variables: Vec<(String, String)>,
    scratch: &Path,
) -> Result<tokio::process::Command, StepError> {
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
        .kill_on_drop(true)
        .current_dir(scratch);
    if let Some(folder) = &start.tool.working_dir {
        if !Path::new(folder).is_dir() {
            let message = format!("the tool's working_dir {folder} is not a folder on this worker");
            return Err(StepError::new(ErrorClass::Permanent, "working_dir_not_found", message).fatal());
        }
        command.current_dir(folder);
    }
    Ok(command)
}

/// Nothing ran: the worker's folder for temporary files is full, or not there.
fn means_not_made(error: &io::Error) -> StepError {
    let message = format!("the program's folder and its input could not be made among the temporary files: {error}");
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
    // Whoever writes a file beyond its bound gets this signal, and a shell tells of it so.
    let is_file_too_long = match status.code() {
        Some(code) => code == 128 + Signal::SIGXFSZ as i32 && !tool.not_applied_exit_codes.contains(&code),
        None => status.signal() == Some(Signal::SIGXFSZ as i32),
    };
    if is_file_too_long {
        return Some(ambiguous(Bound::Scratch.error(&tool.limits)));
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
        called: None,
    };
    let mut outcome = output::admit(seen, secrets);
    if ended.left_open {
        outcome
            .notes
            .push("a process that the program left behind held its output open and was killed".to_owned());
    }
    AttemptOutcome::Done(outcome)
}

fn evidence(ended: &Ended, stderr: &str, (limit, limits): (&Limit, &CommandLimits)) -> Value {
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
    if let Exit::Beyond(bound) = &ended.exit {
        evidence["beyond"] = bound.evidence(limits);
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
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

const fn ambiguous(error: StepError) -> AttemptOutcome<ToolOutcome> {
    AttemptOutcome::Ambiguous {
        error,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
