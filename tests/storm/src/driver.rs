//! Asks for runs through every door, meddles with some of them, and remembers each answer.
//!
//! Owns `driver.jsonl`. An answer is on the disk before anything follows from it, and what nobody knows is asked again
//! under the same key until somebody does. Never looks at what a run does. Start at [`drive`].

mod doors;
mod person;
#[cfg(test)]
mod tests;

use crate::plan::{self, Meddling, Plan};
use crate::record::{self, Door, DriverRecord, Log, Outcome};
use anyhow::Context;
use doors::{Doors, Receipt, Request};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// Runs whose start is not known yet.
const STARTING_MAX: usize = 48;

/// How often the database is asked how many runs are open.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Before what is not known is asked again; doubles up to the second.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// One start in so many is asked for twice at once.
const TWINS_EVERY: u32 = 16;

/// Of requests over SQL, one transaction in so many is rolled back when all is done, and asked again.
const WITHDRAWN_EVERY: u32 = 8;

/// How long is still settled when the conductor is gone, and perhaps all that could answer.
const ALONE_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where `driver.jsonl` is written
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[arg(long)]
    pub(crate) seed: u64,
    #[arg(long)]
    pub(crate) database_url: String,
    #[arg(long)]
    pub(crate) api_url: String,
    /// Where people ask what became of a call
    #[arg(long)]
    pub(crate) ledger_url: String,
    /// The `longhaul` command
    #[arg(long)]
    pub(crate) program: PathBuf,
    /// So many runs are kept under way
    #[arg(long, default_value_t = 120)]
    pub(crate) open: u64,
}

pub(crate) async fn drive(options: Options) -> anyhow::Result<()> {
    let mut conductor = conductor();
    let driver = Arc::new(Driver {
        plan: Plan::of(options.seed),
        log: Arc::new(Log::open(&options.folder.join("driver.jsonl"))?),
        doors: Doors::open(&options)?,
    });
    let starting = Arc::new(Semaphore::new(STARTING_MAX));
    let mut lives = JoinSet::new();
    let mut number = 0;
    lives.spawn(Arc::clone(&driver).attend(conductor.clone()));
    while *conductor.borrow() == Word::GoOn {
        while let Some(life) = lives.try_join_next() {
            life.context("a run's life panicked")??;
        }
        // While the database is away nothing new is asked for; what was asked is being asked again.
        if let Some(open) = driver.doors.open_runs().await {
            let unknown = STARTING_MAX - starting.available_permits();
            let room = options.open.saturating_sub(open + unknown as u64);
            for _ in 0..room {
                let Ok(permit) = Arc::clone(&starting).try_acquire_owned() else {
                    break;
                };
                lives.spawn(Arc::clone(&driver).live(number, permit));
                number += 1;
            }
        }
        // Ends with the time or with the word, whichever comes first.
        let _ = tokio::time::timeout(LOOK_EVERY, conductor.changed()).await;
    }
    tokio::select! {
        settled = settle(lives) => settled,
        () = gone(conductor) => anyhow::bail!("the conductor is gone, and some answers are still not known"),
    }
}

async fn settle(mut lives: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(life) = lives.join_next().await {
        life.context("a run's life panicked")??;
    }
    Ok(())
}

/// Answers a while after the conductor's end.
async fn gone(mut conductor: watch::Receiver<Word>) {
    // The thread that sends ends with its last word.
    let _ = conductor.wait_for(|word| *word == Word::Gone).await;
    tokio::time::sleep(ALONE_FOR).await;
}

/// What the conductor has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    GoOn,
    Stop,
    Gone,
}

/// Listens to the conductor on a thread of its own: a runtime would not end before its read did.
fn conductor() -> watch::Receiver<Word> {
    let (sender, receiver) = watch::channel(Word::GoOn);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            match line {
                Ok(line) if line.trim() == "stop" => {
                    sender.send_replace(Word::Stop);
                }
                Ok(_) => (),
                Err(_) => break,
            }
        }
        sender.send_replace(Word::Gone);
    });
    receiver
}

struct Driver {
    plan: Plan,
    log: Arc<Log>,
    doors: Doors,
}

/// What is asked until it is known.
struct Question {
    run: u64,
    request: Request,
    /// Where it is asked first.
    door: Door,
    /// Chooses the doors after that.
    random: fastrand::Rng,
}

impl Driver {
    /// All that is done to one run.
    async fn live(self: Arc<Self>, number: u64, permit: OwnedSemaphorePermit) -> anyhow::Result<()> {
        let run = self.plan.run(number);
        let mut random = plan::random(self.plan.seed, "doors", number);
        let request = Request::Start {
            key: self.plan.key(number),
            kind: run.kind,
            input: self.plan.input(&run),
        };
        let mut start = |door| Question {
            run: number,
            request: request.clone(),
            door,
            random: random.fork(),
        };
        let (one, other) = (start(run.door), start(any_door(&mut fastrand::Rng::with_seed(number))));
        let id = if random.u32(..TWINS_EVERY) == 0 {
            let (one, other) = tokio::join!(self.ask(one), self.ask(other));
            one?.or(other?)
        } else {
            self.ask(one).await?
        };
        drop(permit);
        match id {
            Some(id) => {
                let (meddled, told) = tokio::join!(self.meddle(number, id.clone(), random), self.tell(number, id));
                meddled.and(told)
            }
            None => Ok(()),
        }
    }

    /// Sends the run its signals, each once the one before is acknowledged, and each under its id until somebody knows.
    async fn tell(&self, number: u64, id: String) -> anyhow::Result<()> {
        let run = self.plan.run(number);
        let mut random = plan::random(self.plan.seed, "telling", number);
        for place in 0..self.plan.signals(&run) {
            tokio::time::sleep(self.plan.signal_pause(number, place)).await;
            let request = Request::Signal {
                run: id.clone(),
                id: self.plan.signal_id(number, place),
                place,
            };
            let question = Question {
                run: number,
                request,
                door: any_door(&mut random),
                random: random.fork(),
            };
            // Whoever is sent twice at once takes it once.
            if random.u32(..TWINS_EVERY) == 0 {
                let twin = Question {
                    run: number,
                    request: question.request.clone(),
                    door: any_door(&mut random),
                    random: random.fork(),
                };
                let (one, other) = tokio::join!(self.ask(question), self.ask(twin));
                if one?.or(other?).is_none() {
                    break;
                }
            } else if self.ask(question).await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn meddle(&self, number: u64, id: String, mut random: fastrand::Rng) -> anyhow::Result<()> {
        let run = self.plan.run(number);
        let mut question = |request| Question {
            run: number,
            request,
            door: next_door(run.door, &mut random),
            random: random.fork(),
        };
        match run.meddling {
            Meddling::None => (),
            Meddling::Cancel { after } => {
                tokio::time::sleep(after).await;
                self.ask(question(Request::Cancel(id))).await?;
            }
            Meddling::Pause { after, length } => {
                tokio::time::sleep(after).await;
                if self.ask(question(Request::Pause(id.clone()))).await?.is_some() {
                    tokio::time::sleep(length).await;
                    self.ask(question(Request::Resume(id))).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks until the answer is known; the run's id, or nothing where it was refused.
    async fn ask(&self, mut question: Question) -> anyhow::Result<Option<String>> {
        let (mut pause, pause_max) = AGAIN_AFTER;
        let mut may_withdraw = true;
        loop {
            let withdrawn = may_withdraw && question.random.u32(..WITHDRAWN_EVERY) == 0;
            match self.ask_once(&question, withdrawn).await? {
                Outcome::Acknowledged(id) => return Ok(Some(id)),
                Outcome::Refused(_) => return Ok(None),
                // Now in earnest.
                Outcome::RolledBack(_) => may_withdraw = false,
                Outcome::Indeterminate(_) => {
                    tokio::time::sleep(pause).await;
                    pause = pause_max.min(pause * 2);
                    question.door = next_door(question.door, &mut question.random);
                }
            }
        }
    }

    async fn ask_once(&self, question: &Question, withdrawn: bool) -> anyhow::Result<Outcome> {
        let receipt = Receipt {
            id: uuid::Uuid::new_v4().to_string(),
            withdrawn,
        };
        let outcome = self.doors.ask(question.door, &question.request, &receipt).await;
        let receipt = (question.door == Door::Sql).then_some(receipt.id);
        self.write(question, receipt, outcome.clone()).await?;
        Ok(outcome)
    }

    async fn write(&self, question: &Question, receipt: Option<String>, outcome: Outcome) -> anyhow::Result<()> {
        let record = DriverRecord {
            at: record::now(),
            asked: question.request.asked(),
            run: question.run,
            door: question.door,
            signal: question.request.place(),
            decision: question.request.decision().cloned(),
            receipt,
            outcome,
        };
        let log = Arc::clone(&self.log);
        tokio::task::spawn_blocking(move || log.write(&[record])).await?
    }
}

/// The same door as often as any.
fn next_door(door: Door, random: &mut fastrand::Rng) -> Door {
    if random.bool() { door } else { any_door(random) }
}

fn any_door(random: &mut fastrand::Rng) -> Door {
    match random.u32(..3) {
        0 => Door::Http,
        1 => Door::CommandLine,
        _ => Door::Sql,
    }
}
