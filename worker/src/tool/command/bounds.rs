//! What a program may use, and what is said when it used more.

use super::family::Family;
use super::scratch::Scratch;
use agent::definition::CommandLimits;
use agent::{ErrorClass, StepError};
use serde_json::{Value, json};

const MIB: u64 = 1024 * 1024;

/// A bound that a program went beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Memory,
    Output,
    Scratch,
    Processes,
}

impl Bound {
    /// The key in `[tool.limits]`.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory_mib",
            Self::Output => "output_mib",
            Self::Scratch => "scratch_mib",
            Self::Processes => "processes_max",
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Memory => "command_memory",
            Self::Output => "command_output",
            Self::Scratch => "command_scratch",
            Self::Processes => "command_processes",
        }
    }

    const fn of(self, limits: &CommandLimits) -> u32 {
        match self {
            Self::Memory => limits.memory_mib,
            Self::Output => limits.output_mib,
            Self::Scratch => limits.scratch_mib,
            Self::Processes => limits.processes_max,
        }
    }

    /// What is recorded. The program ran until then, so nobody knows what it did.
    pub(super) fn error(self, limits: &CommandLimits) -> StepError {
        let most = self.of(limits);
        let what = match self {
            Self::Memory => format!("held more than {most} MiB of memory"),
            Self::Output => format!("wrote more than {most} MiB to its output"),
            Self::Scratch => format!("wrote more than {most} MiB, or too many files"),
            Self::Processes => format!("had more than {most} processes"),
        };
        let key = self.key();
        let message = format!("the program {what} and was killed: the tool's limits.{key}");
        StepError::new(ErrorClass::Permanent, self.code(), message).suggest(format!(
            "ask for less at a time, or let the agent's author raise limits.{key}"
        ))
    }

    /// For the evidence.
    pub(super) fn evidence(self, limits: &CommandLimits) -> Value {
        json!({ "bound_by": self.key(), "limit": self.of(limits) })
    }
}

/// Bytes that a program may write to its two outputs together.
pub(super) fn output_bytes_max(limits: &CommandLimits) -> u64 {
    u64::from(limits.output_mib) * MIB
}

/// The bound that the family is beyond, if it is. Whoever has joined it since the last look is held to the system's
/// limits too.
pub(super) fn look(limits: &CommandLimits, family: &Family, scratch: &Scratch) -> Option<Bound> {
    let members = family.look();
    for (member, is_new) in &members {
        if *is_new && member.is_there() {
            hold(member.process, limits);
        }
    }
    let bytes_max = |mib: u32| u64::from(mib) * MIB;
    if members.len() as u64 > u64::from(limits.processes_max) {
        return Some(Bound::Processes);
    }
    let memory_bytes: u64 = members.iter().map(|(member, _)| member.memory_bytes()).sum();
    if memory_bytes > bytes_max(limits.memory_mib) {
        return Some(Bound::Memory);
    }
    let scratch_bytes_max = bytes_max(limits.scratch_mib);
    let is_within = scratch.used(scratch_bytes_max).is_within(scratch_bytes_max);
    (!is_within).then_some(Bound::Scratch)
}

/// Holds one process, and all that it will start, to the system's own limits. They are the second wall behind
/// [`look`], which comes only now and then: what one process can do in between is bounded too.
#[cfg(target_os = "linux")]
pub(super) fn hold(process: i32, limits: &CommandLimits) {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let Some(process) = Pid::from_raw(process) else { return };
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Nofile, u64::from(limits.open_files_max)),
        (Resource::Fsize, u64::from(limits.scratch_mib) * MIB),
        // Reserved address space does not count here, as it would for RLIMIT_AS: some runtimes reserve terabytes. But
        // what was only made writable does, and that is more than what is present.
        (Resource::Data, 2 * u64::from(limits.memory_mib) * MIB),
    ] {
        // Never more than the worker itself may have.
        let most = getrlimit(resource).maximum.map_or(most, |own| own.min(most));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        // Fails for a process that has ended or that has changed its user.
        let _ = prlimit(Some(process), resource, limit);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn hold(_: i32, _: &CommandLimits) {}
