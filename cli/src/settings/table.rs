//! Every setting: its key in the file, its variables, its options. A key is its first variable without `LONGHAUL_`, in
//! small letters.

/// A setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// As the settings file has it.
    pub(crate) key: &'static str,
    /// In this order.
    pub(crate) variables: &'static [&'static str],
    /// The options that mean the same.
    pub(crate) arguments: &'static [Argument],
    /// How much of it may be shown.
    pub(crate) shown: Shown,
    /// What happens without it, where no option has a default.
    pub(crate) otherwise: &'static str,
}

/// An option of a command; of every command, where none is named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Argument {
    pub(crate) command: &'static [&'static str],
    /// Clap's name for it.
    pub(crate) id: &'static str,
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Whole,
    /// A database's address without its password.
    WithoutPassword,
    Nothing,
}

const fn of(command: &'static [&'static str], id: &'static str) -> Argument {
    Argument { command, id }
}

const fn plain(
    key: &'static str,
    variables: &'static [&'static str],
    arguments: &'static [Argument],
    otherwise: &'static str,
) -> Setting {
    Setting {
        key,
        variables,
        arguments,
        shown: Shown::Whole,
        otherwise,
    }
}

const fn secret(key: &'static str, variables: &'static [&'static str], otherwise: &'static str) -> Setting {
    Setting {
        shown: Shown::Nothing,
        ..plain(key, variables, &[], otherwise)
    }
}

/// All of them, in the order in which they are shown.
#[rustfmt::skip]
pub(crate) static ALL: &[Setting] = &[
    Setting {
        shown: Shown::WithoutPassword,
        ..plain("database_url", &["LONGHAUL_DATABASE_URL", "DATABASE_URL"], &[], "none")
    },
    plain("tenant", &["LONGHAUL_TENANT"], &[of(&[], "tenant")], ""),
    plain("requester", &["LONGHAUL_REQUESTER"], &[of(&["run", "start"], "requester")], "the database user"),
    plain("actor", &["LONGHAUL_ACTOR"],
        &[of(&["run", "cancel"], "by"), of(&["run", "pause"], "by"), of(&["run", "resume"], "by"),
          of(&["inbox", "happened"], "by"), of(&["inbox", "did-not-happen"], "by"), of(&["inbox", "probe-again"], "by"),
          of(&["inbox", "give-up"], "by"), of(&["inbox", "approve"], "by"), of(&["inbox", "reject"], "by"),
          of(&["breaker", "reset"], "by"), of(&["breaker", "open"], "by")], "the database user"),
    plain("model_url", &["LONGHAUL_MODEL_URL"], &[of(&["worker"], "model_url")], ""),
    secret("model_key", &["LONGHAUL_MODEL_KEY", "ANTHROPIC_API_KEY"], "none"),
    plain("worker_name", &["LONGHAUL_WORKER_NAME"], &[of(&["worker"], "name")], "host and process number"),
    plain("queues", &["LONGHAUL_QUEUES"], &[of(&["worker"], "queues")], ""),
    plain("lease_seconds", &["LONGHAUL_LEASE_SECONDS"], &[of(&["worker"], "lease")], ""),
    plain("poll_seconds", &["LONGHAUL_POLL_SECONDS"], &[of(&["worker"], "poll")], ""),
    plain("runs_max", &["LONGHAUL_RUNS_MAX"], &[of(&["worker"], "runs_max")], ""),
    plain("calls_max", &["LONGHAUL_CALLS_MAX"], &[of(&["worker"], "calls_max")], ""),
    plain("drain_seconds", &["LONGHAUL_DRAIN_SECONDS"], &[of(&["worker"], "drain")], ""),
    plain("no_notifications", &["LONGHAUL_NO_NOTIFICATIONS"], &[of(&["worker"], "no_notifications")], "false"),
    plain("sql_role", &["LONGHAUL_SQL_ROLE"], &[], "the worker's own"),
    plain("sql_search_path", &["LONGHAUL_SQL_SEARCH_PATH"], &[], "as the database has it, without the engine's own"),
    plain("health_address", &["LONGHAUL_HEALTH_ADDRESS"], &[of(&["worker"], "health_address")], "none"),
    plain("api_listen", &["LONGHAUL_API_LISTEN"], &[of(&["api"], "listen")], ""),
    secret("api_token", &["LONGHAUL_API_TOKEN"], "none"),
    plain("api_token_file", &["LONGHAUL_API_TOKEN_FILE"], &[of(&["api"], "token_file")], "none"),
    plain("dev_state", &["LONGHAUL_DEV_STATE"], &[of(&["dev"], "state")], ""),
    plain("dev_listen", &["LONGHAUL_DEV_LISTEN"], &[of(&["dev"], "listen")], ""),
    plain("log", &["LONGHAUL_LOG"], &[], "as the command needs"),
    plain("log_format", &["LONGHAUL_LOG_FORMAT"], &[of(&[], "log")], ""),
];

/// The setting of that key.
pub(crate) fn known(key: &str) -> Option<&'static Setting> {
    ALL.iter().find(|setting| setting.key == key)
}
