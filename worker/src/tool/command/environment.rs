//! The variables that a program sees.

use crate::tool::Call;
use crate::tool::environment::Environment;
use crate::tool::secrets::Secrets;
use agent::definition::CommandTool;
use std::path::Path;

/// The variable that names the program's own folder; by it the program's processes are found.
pub(super) const SCRATCH: &str = "LONGHAUL_SCRATCH";

/// Variables whose values are no secrets and stand in honest output, such as in paths.
const PLAIN: [&str; 10] = [
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR", "TZ", "USER",
];

/// A variable ends at a NUL, which a caller's text may hold.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// `PATH`, what the tool allows, and the engine's own, which nothing can take the place of. An allowed variable that
/// the worker does not have is left out: to be allowed is not to be needed. Programs that want a home or a place for
/// temporary files find their own folder there, unless the tool allows the worker's.
pub(super) fn variables(
    environment: &Environment,
    call: &Call<'_>,
    (tool, scratch): (&CommandTool, &Path),
) -> (Vec<(String, String)>, Secrets) {
    let mut secrets = Secrets::default();
    let mut variables = Vec::new();
    let scratch = scratch.display().to_string();
    for name in ["HOME", "TMPDIR"] {
        if !tool.env.iter().any(|allowed| allowed == name) {
            variables.push((name.to_owned(), scratch.clone()));
        }
    }
    for name in std::iter::once("PATH").chain(tool.env.iter().map(String::as_str)) {
        if let Some(value) = environment.get(name) {
            if !PLAIN.contains(&name) {
                secrets.remember(name, &value);
            }
            variables.push((name.to_owned(), value));
        }
    }
    for (name, value) in [
        ("LONGHAUL_IDEMPOTENCY_KEY", call.key.to_owned()),
        ("LONGHAUL_RUN", call.context.run.clone()),
        ("LONGHAUL_STEP", call.context.step.to_string()),
        ("LONGHAUL_ATTEMPT", call.attempt.to_string()),
        ("LONGHAUL_WORKER", call.context.worker.clone()),
        ("LONGHAUL_TENANT", plain(&call.context.tenant)),
        (
            "LONGHAUL_REQUESTER",
            plain(call.context.requester.as_deref().unwrap_or_default()),
        ),
        (SCRATCH, scratch),
    ] {
        variables.push((name.to_owned(), value));
    }
    (variables, secrets)
}
