//! The processor's time and the memory that processes use, as Linux tells it; elsewhere nobody knows.

use super::callers::count;
use std::fs;
use std::path::Path;

/// What `/proc` counts in: USER_HZ, the same on every machine that Rust's Linux targets run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A line of `/proc/…/stat`, as far as it is needed.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: u32,
    /// Its own, in user and in system mode.
    own: u64,
    /// That of its children which have ended and were waited for.
    ended_children: u64,
}

/// Looks at a server's processes until none of them ends meanwhile: its time would be missed, or counted twice.
const LOOKS_MAX: usize = 10;

/// Seconds used by a Postgres server: its first process, those that it has started, and those of them that are gone.
pub(super) fn of_server(postmaster: u32) -> Option<f64> {
    let first = || read(Path::new(&format!("/proc/{postmaster}/stat")));
    let mut before = first()?;
    let mut looks = 1;
    loop {
        let children = stats("/proc").filter(|stat| stat.parent == postmaster);
        let living: u64 = children.map(|stat| stat.own + stat.ended_children).sum();
        let after = first()?;
        if after.ended_children == before.ended_children || looks == LOOKS_MAX {
            return Some(count(after.own + after.ended_children + living) / TICKS_PER_SECOND);
        }
        before = after;
        looks += 1;
    }
}

/// Seconds used by this process, without its threads of that name.
pub(super) fn of_this_process(without: &str) -> Option<f64> {
    let whole = read(Path::new("/proc/self/stat"))?.own;
    let others = stats("/proc/self/task").filter(|stat| stat.name == without);
    let others: u64 = others.map(|stat| stat.own).sum();
    Some(count(whole.saturating_sub(others)) / TICKS_PER_SECOND)
}

/// Megabytes of memory that this process holds now.
pub(super) fn memory_of_this_process() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(count(kilobytes) / 1024.0)
}

fn stats(folder: &str) -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| read(&entry.path().join("stat")))
}

fn read(path: &Path) -> Option<Stat> {
    parse(&fs::read_to_string(path).ok()?)
}

/// `123 (name, which may hold anything) S 1 …`: proc(5) counts the fields from 1.
fn parse(stat: &str) -> Option<Stat> {
    let (begin, rest) = stat.rsplit_once(") ")?;
    let (_, name) = begin.split_once(" (")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        name: name.to_owned(),
        parent: u32::try_from(field(4)?).ok()?,
        own: field(14)? + field(15)?,
        ended_children: field(16)? + field(17)?,
    })
}

#[cfg(test)]
mod tests;
