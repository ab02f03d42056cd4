//! Every bound of the engine, with its reason.

/// A worker's claims, records and extensions share these; more would only queue inside Postgres.
pub const CONNECTIONS_MAX: u32 = 8;
/// No statement of the engine takes long; one that does is stuck.
pub const STATEMENT_TIMEOUT: &str = "30s";
/// A lock held longer than this belongs to a stuck or foreign transaction: better to try again than to queue.
pub const LOCK_TIMEOUT: &str = "10s";
/// A run's input. The database checks it too, for callers in SQL.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;
/// An earlier conversation, and one model reply.
pub const CONTENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A workflow's name. The database checks it too, by the same words.
pub const WORKFLOW_NAME_BYTES_MAX: usize = 63;
/// What can be one, in words.
pub const WORKFLOW_NAME: &str =
    "1 to 63 lower-case letters, digits and hyphens, of which the first is no hyphen; not agent";
/// Nesting of any payload: serde stops at 128, and people stop reading long before.
pub const DEPTH_MAX: usize = 64;
/// Runs of a tree that are cancelled by one statement: as many ids as one notification holds, a few hundredths of a
/// second's work.
pub const CHILDREN_BATCH_MAX: i32 = 200;
/// Runs claimed by one statement: performance.md measures 20 to 100 as the best.
pub const CLAIM_BATCH_MAX: u32 = 50;
/// Runs taken back, or woken, by one statement, so that its locks are short.
pub const UPKEEP_BATCH_MAX: i64 = 100;
/// Rows of one page of a list.
pub const PAGE_ROWS_MAX: i64 = 200;
/// Crashes since its last recorded result after which a run is parked for a person: by then it is the likely cause.
pub const CRASHES_MAX: i32 = 5;
/// Crashes after which a run is a suspect: it may be what kills its workers, and is not driven beside ordinary runs.
pub const CRASHES_SUSPECT: i32 = 2;
/// How long a suspect waits for a worker that is free, before a busy one makes room for it.
pub const SUSPECT_PATIENCE_SECONDS: f64 = 1.0;
/// How many suspects are driven at once, with nothing beside them. Fewer after each crash: whoever stood beside the one
/// that kills its workers is cleared in company, and that one is alone when it has its last chance.
pub const fn suspects_at_once(crashes: i32) -> u32 {
    match crashes {
        ..=2 => 8,
        3 => 3,
        _ => 1,
    }
}
/// Whether a workflow can have this name: it is [`WORKFLOW_NAME`]. `agent` is the kind of all agents' runs.
pub fn is_workflow_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=WORKFLOW_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with('-')
        && name != "agent"
}
/// Runs started by one statement: a few hundredths of a second's work.
pub const BATCH_RUNS_MAX: usize = 1000;
/// Of the input and the history of a run that is started together with others.
pub const GATHERED_START_BYTES_MAX: usize = 16 * 1024;
/// Run ids, 36 bytes and a comma each, in one notification of less than 8,000 bytes.
pub const HINT_RUNS_MAX: usize = 200;
/// Months made ahead: whoever may make them has so long to come by.
pub const MONTHS_AHEAD: i32 = 2;
/// Earlier results of tools that are kept for later calls: an index of a few tens of megabytes.
pub const CACHE_ROWS_MAX: i64 = 100_000;
/// Of these, forgotten by one statement.
pub const CACHE_BATCH_MAX: i64 = 1_000;
