//! Every bound of a definition, each with its reason. A number's reason is shown with the mistake.

/// Bounds of one number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    pub(super) min: u64,
    pub(super) max: u64,
    /// Why not more.
    pub(super) why: &'static str,
}

const fn number(min: u64, max: u64, why: &'static str) -> Number {
    Number { min, max, why }
}

/// A day, in seconds.
const DAY: u64 = 24 * 60 * 60;

pub(super) const MAX_TOKENS: Number = number(1, 128_000, "no model answers with more in one call");
pub(super) const TURNS_MAX: Number = number(1, 1_000, "each turn sends the whole transcript again");
pub(super) const TOOL_CALLS_PER_TURN_MAX: Number = number(1, 64, "the calls of a turn run at the same time");
pub(super) const WALL_CLOCK_SECONDS: Number =
    number(1, 365 * DAY, "a run that may wait longer than a year is forgotten");
pub(super) const TIMEOUT_SECONDS: Number = number(1, DAY, "a worker is busy all that time");
pub(super) const TURN_SECONDS: Number = number(1, 365 * DAY, "no run lasts longer");
pub(super) const ROW_LIMIT: Number = number(1, 10_000, "a model is shown 256 KiB of them");
pub(super) const AFTER_SECONDS: Number = number(0, DAY, "a run waits all that time");
pub(super) const ATTEMPTS_MAX: Number = number(1, 100, "more attempts help nobody and burden the target");
pub(super) const INITIAL_MS: Number = number(1, 3_600_000, "a first delay beyond an hour is no retry");
pub(super) const CAP_MS: Number = number(1, 86_400_000, "a delay beyond a day is no retry");
pub(super) const HORIZON_SECONDS: Number = number(1, 365 * DAY, "no run lasts longer");
pub(super) const FAILURES: Number = number(1, 1_000, "a target that fails so often in a row is down");
pub(super) const COOLDOWN_SECONDS: Number = number(1, DAY, "a target that is up again should not wait longer");
pub(super) const CONCURRENCY: Number = number(1, 10_000, "each call that is out has a row");
pub(super) const RATE_CALLS: Number = number(1, 1_000, "the time of each is kept; shorten per_seconds instead");
pub(super) const PER_SECONDS: Number = number(1, DAY, "a call waits all that time");
pub(super) const MEMORY_MIB: Number = number(8, 1_048_576, "a TiB is beyond any tool");
pub(super) const OUTPUT_MIB: Number = number(1, 1_024, "the model is shown 256 KiB of it");
pub(super) const SCRATCH_MIB: Number = number(1, 1_048_576, "a TiB is beyond any tool");
pub(super) const PROCESSES_MAX: Number = number(1, 10_000, "each is looked at again and again");
pub(super) const OPEN_FILES_MAX: Number = number(16, 1_048_576, "no system gives more");
/// Code 0 says that all went well, and there are none beyond 255.
pub(super) const EXIT_CODE: Number = number(1, 255, "0 is success, and there are none beyond 255");

pub(super) const TTL_SECONDS: Number = number(1, 30 * DAY, "a result that old says nothing any more");
pub(super) const STALE_SECONDS: Number = number(0, 365 * DAY, "a result that old says nothing any more");
pub(super) const SAMPLE_ROWS: Number = number(1, 1_000_000, "more is no sample");
pub(super) const MAX_CHARS: Number = number(1, 262_144, "no tool's output is longer");

/// Ways of answering one call that failed: each is a call of its own.
pub(super) const FALLBACKS_MAX: usize = 8;
/// Rules for what one tool is asked, or for what it answers.
pub(super) const RULES_MAX: usize = 32;
/// A pattern that people can read.
pub(super) const PATTERN_CHARS_MAX: usize = 1_000;
/// What stands in the place of a match: a word or two.
pub(super) const WITH_CHARS_MAX: usize = 200;
/// A line for the model or for people.
pub(super) const NOTE_CHARS_MAX: usize = 500;
/// Properties of one tool's input beyond which it probably does more than one thing.
pub(super) const PROPERTIES_WARN: usize = 16;

/// Bytes of a whole file: far beyond any prompt that a model follows, and still quick to read.
pub(super) const FILE_BYTES_MAX: usize = 256 * 1024;
/// Each tool costs tokens in every call, and models choose badly among many.
pub(super) const TOOLS_MAX: usize = 128;
/// Mistakes told in one go; more scroll away unread.
pub(super) const MISTAKES_MAX: usize = 100;
/// A label in DNS and in most other systems.
pub(super) const AGENT_NAME_CHARS_MAX: usize = 63;
/// What the Messages API takes.
pub(super) const TOOL_NAME_CHARS_MAX: usize = 64;
/// Names of models, functions, variables and folders; nothing real comes near.
pub(super) const NAME_CHARS_MAX: usize = 256;
/// The provider counts a description in every call: a longer one belongs into the system prompt.
pub(super) const DESCRIPTION_CHARS_MAX: usize = 8_192;
/// Databases in a worker's configuration.
pub(super) const DATABASE_NAME_CHARS_MAX: usize = 63;
/// Beyond this a description is read less well than a short one.
pub(super) const DESCRIPTION_CHARS_WARN: usize = 1_024;
/// Below this no purpose and no occasion fit in.
pub(super) const DESCRIPTION_CHARS_SHORT: usize = 30;
/// Headers of one tool; servers refuse more than about a hundred in all.
pub(super) const HEADERS_MAX: usize = 32;
/// Hosts that one tool may reach besides the public ones: a tool speaks to one service.
pub(super) const ALLOWED_HOSTS_MAX: usize = 32;
/// Arguments of one command, and variables that it may see.
pub(super) const ARGUMENTS_MAX: usize = 256;
/// Exit codes in one list: there are 255.
pub(super) const EXIT_CODES_MAX: usize = 255;

/// The provider takes at most so many strict tools in a request.
pub(super) const STRICT_TOOLS_MAX: usize = 20;
/// The provider takes at most so many optional properties in all strict tools together.
pub(super) const STRICT_OPTIONAL_MAX: usize = 24;
/// The provider takes at most so many properties of several types in all strict tools together.
pub(super) const STRICT_UNIONS_MAX: usize = 16;
