//! The variables that a program sees.

use crate::tool::Call;
use crate::tool::environment::Environment;
use crate::tool::secrets::Secrets;
use agent::definition::CommandTool;

/// Variables whose values are no secrets and stand in honest output, such as in paths.
const PLAIN: [&str; 10] = [
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR", "TZ", "USER",
];

/// `PATH`, what the tool allows, and the engine's own, which nothing can take the place of. An allowed variable that
/// the worker does not have is left out: to be allowed is not to be needed.
pub(super) fn variables(
    environment: &Environment,
    call: &Call<'_>,
    tool: &CommandTool,
) -> (Vec<(String, String)>, Secrets) {
    let mut secrets = Secrets::default();
    let mut variables = Vec::new();
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
    ] {
        variables.push((name.to_owned(), value));
    }
    (variables, secrets)
}
