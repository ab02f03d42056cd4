//! From any error to an exit code and one message with a stable code. Start at [`tell`].

use crate::output::{self, style};
use crate::show::plain;
use engine::EngineError;
use launcher::LauncherError;
use serde_json::{Value, json};
use std::fmt;
use std::process::ExitCode;
use worker::WorkerError;

/// How a command ends, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Ok,
    /// It was tried and failed, or the run that was watched did not succeed.
    Failed,
    /// What was asked for makes no sense: usage, a bad file, a bad payload.
    Usage,
    /// Longhaul refuses: there is no such run, the key was used before, an outcome is unknown.
    Refused,
    /// The database cannot be reached.
    Unreachable,
    /// The database has a schema that this program does not know.
    Schema,
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Schema => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error of the command line itself.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the command ends.
    pub(crate) exit: Exit,
    /// Stable, for programs.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) message: String,
    /// What to do, where there is something.
    pub(crate) hint: Option<String>,
    /// More for programs, beside the code.
    pub(crate) details: Option<Box<(&'static str, Value)>>,
}

impl Failure {
    /// Bad input.
    pub(crate) fn usage(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// Any other.
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            details: None,
        }
    }

    /// The same with what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with more for programs.
    pub(crate) fn details(mut self, name: &'static str, details: Value) -> Self {
        self.details = Some(Box::new((name, details)));
        self
    }

    fn as_json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message, "hint": self.hint});
        if let (Some(details), Some(fields)) = (&self.details, error.as_object_mut()) {
            fields.insert(details.0.to_owned(), details.1.clone());
        }
        json!({ "error": error })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints an error, once, and says how the command ends.
pub(crate) fn tell(error: &anyhow::Error, json: bool) -> Exit {
    let own;
    let failure = match error.downcast_ref::<Failure>() {
        Some(failure) => failure,
        None => {
            own = classify(error);
            &own
        }
    };
    if json {
        output::note(failure.as_json());
    } else {
        let label = style::red(format!("error[{}]:", failure.code));
        output::note(format!("{label} {}", plain(&failure.message)));
        if let Some(hint) = &failure.hint {
            output::note(format!("{} {}", style::bold("hint:"), plain(hint)));
        }
    }
    failure.exit
}

/// What an error of another crate means at the command line.
fn classify(error: &anyhow::Error) -> Failure {
    if let Some(engine) = error.downcast_ref::<EngineError>() {
        return of_engine(engine);
    }
    if let Some(launcher) = error.downcast_ref::<LauncherError>() {
        return of_launcher(launcher);
    }
    match error.downcast_ref::<WorkerError>() {
        Some(WorkerError::Engine(engine)) => of_engine(engine),
        Some(WorkerError::Model(model)) => Failure::usage("invalid_model_endpoint", chain(model))
            .hint("see --model-url, LONGHAUL_MODEL_KEY and ANTHROPIC_API_KEY"),
        None => Failure::new(Exit::Failed, "failed", format!("{error:#}")),
    }
}

/// An error of the launcher.
pub(crate) fn of_launcher(error: &LauncherError) -> Failure {
    Failure::new(Exit::Failed, "no_postgres", chain(error))
}

/// An error of the engine.
pub(crate) fn of_engine(error: &EngineError) -> Failure {
    let exit = match error {
        EngineError::Refused { status: 404 | 409, .. } => Exit::Refused,
        EngineError::Refused { .. } | EngineError::InvalidUrl => Exit::Usage,
        EngineError::Schema(_) => Exit::Schema,
        EngineError::Unavailable(_) => Exit::Unreachable,
        EngineError::Database(_) | EngineError::Unreadable(_) => Exit::Failed,
    };
    let hint = match error {
        EngineError::Refused { hint, .. } => hint.clone(),
        EngineError::Unavailable(_) => {
            Some("see whether the server runs, and whether --database-url names it".to_owned())
        }
        EngineError::InvalidUrl | EngineError::Schema(_) | EngineError::Database(_) | EngineError::Unreadable(_) => {
            None
        }
    };
    let message = match error.said_by_server() {
        Some(said) => format!("{error}: {said}"),
        None => chain(error),
    };
    Failure {
        hint,
        ..Failure::new(exit, error.code(), message)
    }
}

/// An error with its sources, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
