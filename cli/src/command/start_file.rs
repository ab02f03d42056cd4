//! `longhaul run start --file`: a run for each line of a JSON Lines file.
//!
//! The file is read twice: first every line is judged and nothing is started, then runs are started in batches, each all
//! or none. A key per line makes it safe to give the same file again.

mod line;

use super::input::BYTE_ORDER_MARK;
use crate::args::{Global, StartRun as Args};
use crate::database::open;
use crate::failure::{Exit, Failure, of_engine};
use crate::output::{self, Progress, style};
use crate::show::in_line;
use engine::limits::{CONTENT_BYTES_MAX, INPUT_BYTES_MAX};
use engine::{BatchRefused, Engine, EngineError, Started};
use line::{is_name, understand};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

/// Runs of one batch: a progress that moves, and statements that are worth their way.
const BATCH_RUNS: usize = 250;
/// And their bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// A line: an input and an earlier conversation, with room around them.
const LINE_BYTES_MAX: u64 = (INPUT_BYTES_MAX + CONTENT_BYTES_MAX + 64 * 1024) as u64;
/// More mistakes than these nobody reads.
const MISTAKES_MAX: usize = 20;

/// What the whole file says.
#[derive(Default)]
struct Judged {
    runs: u64,
    without_key: u64,
    /// Each agent, and the first line that names it.
    agents: BTreeMap<String, u64>,
    mistakes: Vec<(u64, String)>,
    mistakes_more: u64,
}

impl Judged {
    fn mistake(&mut self, line: u64, told: String) {
        if self.mistakes.len() < MISTAKES_MAX {
            self.mistakes.push((line, told));
        } else {
            self.mistakes_more += 1;
        }
    }

    /// The same for what is found behind all lines: it goes to its place, and the last is left out for it.
    fn mistake_before(&mut self, line: u64, told: String) {
        let at = self.mistakes.partition_point(|(other, _)| *other <= line);
        self.mistakes.insert(at, (line, told));
        if self.mistakes.len() > MISTAKES_MAX {
            self.mistakes.pop();
            self.mistakes_more += 1;
        }
    }
}

/// A file that is read line by line.
struct Source<'a> {
    name: String,
    file: File,
    global: &'a Global,
    args: &'a Args,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<Exit> {
    check_options(&args)?;
    let path = args.file.clone().unwrap_or_default();
    let mut source = Source {
        name: path.display().to_string(),
        file: open_file(&path)?,
        global,
        args: &args,
    };
    let mut judged = source.judge()?;
    let found = find_agents(global, &mut judged).await;
    if !judged.mistakes.is_empty() {
        // They hold whether or not the database could be asked for the agents.
        return Err(refused(&source.name, &judged, global.json).into());
    }
    let engine = found?;
    if judged.runs == 0 {
        return Err(Failure::usage("invalid_runs_file", format!("{} holds no line", source.name)).into());
    }
    let (created, known) = source.start_all(&engine, judged.runs).await?;
    if global.json {
        output::json_line(&json!({"started": created, "known": known}));
        return Ok(Exit::Ok);
    }
    let known = match known {
        0 => String::new(),
        known => format!(", {known} had been started before"),
    };
    output::note(format!("{created} {} started{known}", plural(created)));
    if judged.without_key > 0 {
        let count = judged.without_key;
        output::note(style::dim(format!(
            "{count} of the lines have no key: given again, they are started again"
        )));
    }
    Ok(Exit::Ok)
}

/// Options that hold for all lines are judged once.
fn check_options(args: &Args) -> Result<(), Failure> {
    if !(0..=1000).contains(&args.priority) {
        let message = format!("--priority is {}, 0 to 1000 are possible", args.priority);
        return Err(Failure::usage("invalid_priority", message));
    }
    let named = [
        ("the agent's name", args.agent.as_deref()),
        ("--queue", Some(args.queue.as_str())),
        ("--requester", args.requester.as_deref()),
    ];
    match named.iter().find(|(_, name)| !name.is_none_or(is_name)) {
        Some((option, _)) => Err(Failure::usage("invalid_name", format!("{option} has 1 to 255 bytes"))),
        None => Ok(()),
    }
}

const fn plural(count: u64) -> &'static str {
    if count == 1 { "run" } else { "runs" }
}

/// The file; standard input is kept in a temporary one, since it is read twice.
fn open_file(path: &Path) -> Result<File, Failure> {
    let opened = || -> io::Result<File> {
        if path != Path::new("-") {
            return File::open(path);
        }
        let mut kept = tempfile::tempfile()?;
        io::copy(&mut io::stdin().lock(), &mut kept)?;
        Ok(kept)
    };
    opened().map_err(|error| unreadable(&path.display().to_string(), &error))
}

/// Back to the first line, which is not what some editors write in front of it.
fn begin(file: &mut File) -> io::Result<()> {
    file.rewind()?;
    let mut head = Vec::new();
    file.by_ref()
        .take(BYTE_ORDER_MARK.len() as u64)
        .read_to_end(&mut head)?;
    if head == BYTE_ORDER_MARK { Ok(()) } else { file.rewind() }
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::usage("unreadable_file", format!("could not read {name}: {error}"))
}

/// An agent that is not there would be found too late.
async fn find_agents(global: &Global, judged: &mut Judged) -> Result<Engine, Failure> {
    let engine = open(global).await?;
    for (agent, line) in std::mem::take(&mut judged.agents) {
        let found = engine.agent_list(&global.tenant, Some(&agent)).await;
        if found.map_err(|error| of_engine(&error))?.is_empty() {
            let told = format!("agent {agent:?} does not exist in tenant {:?}", global.tenant);
            judged.mistake_before(line, told);
        }
    }
    Ok(engine)
}

fn refused(name: &str, judged: &Judged, json: bool) -> Failure {
    if !json {
        for (line, told) in &judged.mistakes {
            output::note(in_line(&format!("{name}:{line}: {told}")));
        }
    }
    let count = judged.mistakes.len() as u64 + judged.mistakes_more;
    let shown = match judged.mistakes_more {
        0 => String::new(),
        _ => format!(" (the first {MISTAKES_MAX} are shown)"),
    };
    let plural = if count == 1 { "mistake" } else { "mistakes" };
    let details = judged
        .mistakes
        .iter()
        .map(|(line, told)| json!({"line": line, "message": told}));
    Failure::usage(
        "invalid_runs_file",
        format!("{count} {plural}, nothing was started{shown}"),
    )
    .details("mistakes", details.collect())
}

impl Source<'_> {
    /// Calls back with each line that is not empty, and its number.
    fn each(&mut self, mut told: impl FnMut(u64, Result<&[u8], String>)) -> Result<(), Failure> {
        let failed = |error: io::Error| unreadable(&self.name, &error);
        begin(&mut self.file).map_err(failed)?;
        let mut reader = BufReader::new(&mut self.file);
        let (mut number, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
            if read.map_err(failed)? == 0 {
                return Ok(());
            }
            number += 1;
            if line.len() as u64 > LINE_BYTES_MAX {
                told(number, Err(format!("the line has more than {LINE_BYTES_MAX} bytes")));
                // The rest of it is not a line; what follows would be told wrongly.
                return Ok(());
            }
            if !line.trim_ascii().is_empty() {
                told(number, Ok(line.trim_ascii()));
            }
        }
    }

    fn judge(&mut self) -> Result<Judged, Failure> {
        let (global, args) = (self.global, self.args);
        let mut judged = Judged::default();
        self.each(|number, line| {
            judged.runs += 1;
            let line = match line {
                Ok(line) => line,
                Err(told) => return judged.mistake(number, told),
            };
            let understood = understand(line, global, args);
            judged.without_key += u64::from(understood.start.idempotency_key.is_none());
            if !understood.start.agent.is_empty() {
                judged.agents.entry(understood.start.agent).or_insert(number);
            }
            for told in understood.mistakes {
                judged.mistake(number, told);
            }
        })?;
        Ok(judged)
    }

    /// Starts them all; how many were started now, and before.
    async fn start_all(&mut self, engine: &Engine, runs: u64) -> Result<(u64, u64), Failure> {
        let progress = Progress::of(runs, "runs");
        let (global, args) = (self.global, self.args);
        let (mut created, mut known) = (0, 0);
        let failed = unreadable_now(&self.name);
        begin(&mut self.file).map_err(&failed)?;
        let mut reader = BufReader::new(&mut self.file);
        let mut number = 0;
        loop {
            let (mut lines, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
            let mut line = Vec::new();
            while batch.len() < BATCH_RUNS && bytes < BATCH_BYTES {
                line.clear();
                if reader.read_until(b'\n', &mut line).map_err(&failed)? == 0 {
                    break;
                }
                number += 1;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                bytes += line.len();
                let understood = understand(line.trim_ascii(), global, args);
                if let Some(told) = understood.mistakes.first() {
                    return Err(changed(number, told));
                }
                lines.push(number);
                batch.push(understood.start);
            }
            if batch.is_empty() {
                return Ok((created, known));
            }
            let started = engine.start_runs(&global.tenant, &batch).await;
            let started = started.map_err(|refused| stopped(&refused, &lines, created + known))?;
            for Started { created: is_new, .. } in &started {
                *(if *is_new { &mut created } else { &mut known }) += 1;
            }
            progress.lines(lines.iter().zip(&started).map(|(line, Started { run, created })| {
                if global.json {
                    json!({"line": line, "run_id": run, "created": created}).to_string()
                } else {
                    run.to_string()
                }
            }));
            progress.advance(batch.len() as u64);
        }
    }
}

fn unreadable_now(name: &str) -> impl Fn(io::Error) -> Failure {
    let name = name.to_owned();
    move |error| unreadable(&name, &error)
}

/// The file was another when it was judged.
fn changed(line: u64, told: &str) -> Failure {
    Failure::usage(
        "invalid_runs_file",
        format!("line {line} changed while the file was read: {told}"),
    )
}

/// What was started and what was not, where a batch was not started.
fn stopped(refused: &BatchRefused, lines: &[u64], done: u64) -> Failure {
    let failure = of_engine(&refused.error);
    let (first, last) = (
        lines.first().copied().unwrap_or_default(),
        lines.last().copied().unwrap_or_default(),
    );
    let place = refused.item.and_then(|item| lines.get(item));
    let place = place.map(|line| format!("line {line}: ")).unwrap_or_default();
    let rest = match refused.error {
        EngineError::Unavailable(_) => format!("whether lines {first} to {last} are is not known"),
        EngineError::Refused { .. }
        | EngineError::Schema(_)
        | EngineError::InvalidUrl
        | EngineError::Database(_)
        | EngineError::Unreadable(_) => format!("none from line {first} on is"),
    };
    let message = format!(
        "{place}{}; {done} {} before {} started, {rest}",
        failure.message,
        plural(done),
        if done == 1 { "is" } else { "are" }
    );
    let hint = "give the file again once that is mended: lines with a key are not started twice";
    Failure { message, ..failure }.hint(hint)
}

#[cfg(test)]
mod tests;
