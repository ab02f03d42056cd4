//! `cargo xtask peers`: longhaul's bench and a peer's on one private Postgres, in turn, and how they compare.

mod comparison;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use launcher::{Durability, Server, measured_settings};

use self::comparison::{Figures, Round, best_settings, figures, table, verdict};
use crate::command::{cargo, read, run};
use crate::workspace;

/// The peer's workspace, which is not ours.
const PEERS: &str = "tests/benches/peers";

/// What both are measured in, and the floor beside them.
const WORKLOADS: &str = "floor,w1,w2,w3";

/// How to measure.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Of each measurement.
    seconds: u32,
    /// How often all of it is done.
    rounds: u32,
}

pub(crate) fn peers(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let plan = plan(arguments)?;
    let root = workspace::root()?;
    let programs = Programs::build(&root)?;
    let server = Server::start_temporary_with(Durability::Durable, measured_settings())?;
    let url = server.url("longhaul");
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        println!("round {number} of {}", plan.rounds);
        let ours = || told("longhaul", &mut programs.longhaul(&url, &plan));
        let theirs = || told("dbos", &mut programs.peer(&url, &plan));
        // Whoever is first finds a server at rest, so they take turns in that too.
        rounds.push(if number % 2 == 1 {
            let ours = ours()?;
            (ours, theirs()?)
        } else {
            let theirs = theirs()?;
            (ours()?, theirs)
        });
    }
    drop(server);
    println!();
    tell(&rounds, &plan);
    Ok(ExitCode::SUCCESS)
}

fn tell(rounds: &[Round], plan: &Plan) {
    println!("{}\n", table(rounds));
    println!("ratio: how much better longhaul is, in rates and in times; above 1 it is ahead");
    for line in best_settings(rounds) {
        println!("{line}");
    }
    println!("{} s each, medians of {} rounds", plan.seconds, plan.rounds);
    println!("{}", verdict(rounds));
}

fn plan(arguments: &[String]) -> anyhow::Result<Plan> {
    let mut plan = Plan { seconds: 5, rounds: 1 };
    let mut words = arguments.iter().flat_map(|argument| argument.splitn(2, '='));
    while let Some(name) = words.next() {
        let wanted = match name {
            "--seconds" => &mut plan.seconds,
            "--rounds" => &mut plan.rounds,
            _ => bail!("there is no option {name}; there are --seconds S and --rounds N"),
        };
        let number = words.next().and_then(|word| word.parse().ok());
        *wanted = number
            .filter(|number| *number > 0)
            .with_context(|| format!("{name} takes a number from 1 on"))?;
    }
    Ok(plan)
}

/// Where both are, built for release.
struct Programs {
    longhaul: PathBuf,
    peer: PathBuf,
}

impl Programs {
    fn build(root: &Path) -> anyhow::Result<Self> {
        let peers = root.join(PEERS);
        let peer_target = peers.join("target");
        let mut ours = cargo(root);
        ours.args(["build", "--release", "--package", "longhaul"]);
        let mut theirs = cargo(&peers);
        theirs.args(["build", "--release", "--locked", "--target-dir"]);
        theirs.arg(&peer_target);
        for build in [&mut ours, &mut theirs] {
            if !run(build)?.success() {
                bail!("the build failed");
            }
        }
        Ok(Self {
            longhaul: workspace::target(root).join("release/longhaul"),
            peer: peer_target.join("release/longhaul-peers"),
        })
    }

    fn longhaul(&self, url: &str, plan: &Plan) -> Command {
        let mut bench = Command::new(&self.longhaul);
        bench.args(["bench", "--only", WORKLOADS]);
        measuring(bench, url, plan)
    }

    fn peer(&self, url: &str, plan: &Plan) -> Command {
        measuring(Command::new(&self.peer), url, plan)
    }
}

fn measuring(mut bench: Command, url: &str, plan: &Plan) -> Command {
    bench.args(["--json", "--database-url", url, "--seconds"]);
    bench.arg(plan.seconds.to_string());
    bench
}

fn told(who: &str, bench: &mut Command) -> anyhow::Result<Figures> {
    println!("measuring: {who}");
    figures(&read(bench)?).with_context(|| format!("{who} told something that is not figures"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(words: &[&str]) -> anyhow::Result<Plan> {
        plan(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_in_both_of_their_forms() {
        let known = Plan { seconds: 3, rounds: 5 };
        assert_eq!(planned(&["--seconds", "3", "--rounds=5"]).unwrap(), known);
        assert_eq!(planned(&[]).unwrap(), Plan { seconds: 5, rounds: 1 });
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for words in [
            &["--seconds", "0"][..],
            &["--rounds", "few"],
            &["--rounds"],
            &["--hours", "1"],
        ] {
            assert!(planned(words).is_err(), "{words:?}");
        }
    }
}
