//! A storm: builds what takes part in it and starts its conductor.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};

use crate::command::{cargo, run};
use crate::workspace;

/// Seeds that are always tried: one a line, and behind it a word why.
const SEEDS: &str = "tests/storm/seeds";

/// `--fixed` in place of a seed: all that the file names, one after the other.
const FIXED: &str = "--fixed";

const SEED: &str = "--seed";

/// In place of one storm: one for each planted fault, and one without it.
const SCORE: &str = "--score";

/// Of options that cannot be; the conductor's own says the same.
const USAGE: u8 = 2;

/// Of a conductor that came to no end of its own.
const BROKEN: u8 = 3;

pub(crate) fn storm(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let is_given = |name: &str| {
        let mut names = arguments.iter().filter_map(|argument| argument.split('=').next());
        names.any(|given| given == name)
    };
    if is_given(FIXED) && is_given(SEED) {
        eprintln!("xtask: {FIXED} names its own seeds, so that {SEED} cannot be given beside it");
        return Ok(ExitCode::from(USAGE));
    }
    let root = workspace::root()?;
    let target = workspace::target(&root);
    let mut build = cargo(&root);
    build.args([
        "build",
        "--package",
        "longhaul-storm",
        "--package",
        "longhaul-tests",
        "--bins",
    ]);
    if is_given("--break") || is_given(SCORE) {
        build.args(["--features", "longhaul-tests/planted-faults"]);
    }
    if !run(&mut build)?.success() {
        bail!("the build failed");
    }
    let mut patience = Patience::default();
    if is_given(SCORE) {
        let rest: Vec<&String> = arguments.iter().filter(|argument| *argument != SCORE).collect();
        return conduct(&mut part(&target, "score", &rest), &mut patience);
    }
    let rest: Vec<&String> = arguments.iter().filter(|argument| *argument != FIXED).collect();
    if rest.len() == arguments.len() {
        return conduct(&mut part(&target, "conduct", &rest), &mut patience);
    }
    // One that fails does not hide the next.
    let mut worst = ExitCode::SUCCESS;
    for seed in seeds(&root)? {
        let mut conductor = part(&target, "conduct", &rest);
        let code = conduct(conductor.args([SEED, &seed]), &mut patience)?;
        if code != ExitCode::SUCCESS {
            worst = code;
        }
        if patience.was_tried() {
            break;
        }
    }
    Ok(worst)
}

/// A part of a storm, over the program under test.
fn part(target: &Path, name: &str, arguments: &[&String]) -> Command {
    let programs = target.join("debug");
    let mut part = Command::new(programs.join("longhaul-storm"));
    part.args([name, "--program"])
        .arg(programs.join("longhaul-under-test"))
        .args(arguments);
    part
}

fn conduct(conductor: &mut Command, patience: &mut Patience) -> anyhow::Result<ExitCode> {
    let status = patience.wait_for(conductor)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or_else(
        || {
            println!("storm: BROKEN · its seed is in its first line · the conductor was ended: {status}");
            ExitCode::from(BROKEN)
        },
        ExitCode::from,
    ))
}

/// Waits for conductors, whatever we are told meanwhile: it is they who are to end, in order and with a verdict.
#[derive(Default)]
struct Patience(Option<Arc<Mutex<Tried>>>);

#[derive(Default)]
struct Tried {
    /// As long as it is there.
    conductor: Option<Pid>,
    was: bool,
}

impl Patience {
    fn wait_for(&mut self, conductor: &mut Command) -> anyhow::Result<ExitStatus> {
        // Who starts a process passes on what it blocks, and a conductor blocks nothing.
        signals().thread_unblock()?;
        let mut child = conductor
            .spawn()
            .with_context(|| format!("could not run {}", conductor.get_program().display()))?;
        signals().thread_block()?;
        let tried = self.0.get_or_insert_with(listen);
        let set = |conductor| tried.lock().unwrap_or_else(PoisonError::into_inner).conductor = conductor;
        set(i32::try_from(child.id()).ok().map(Pid::from_raw));
        let status = child.wait();
        set(None);
        Ok(status?)
    }

    fn was_tried(&self) -> bool {
        let tried = self.0.as_ref();
        tried.is_some_and(|tried| tried.lock().unwrap_or_else(PoisonError::into_inner).was)
    }
}

fn signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

/// On a thread of its own, which has both signals blocked as its maker has: so they wait for it.
fn listen() -> Arc<Mutex<Tried>> {
    let tried: Arc<Mutex<Tried>> = Arc::default();
    let told = Arc::clone(&tried);
    std::thread::spawn(move || {
        while let Ok(signal) = signals().wait() {
            let mut tried = told.lock().unwrap_or_else(PoisonError::into_inner);
            tried.was = true;
            // At a terminal it has been told already, and does not mind.
            if let Some(conductor) = tried.conductor {
                let _gone = kill(conductor, signal);
            }
        }
    });
    tried
}

fn seeds(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join(SEEDS);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    Ok(words.filter(|word| !word.starts_with('#')).map(str::to_owned).collect())
}
