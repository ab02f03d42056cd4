//! Owns the victims and all that is done to them. It never asks the product where it is: it watches what passes between
//! the workers and their database and tools, strikes there, and writes down what it did. Start at [`rage`].

mod aim;
mod database_proxy;
mod door;
mod fury;
mod http_door;
mod journal;
mod postgres;
mod process;
mod request;
mod schedule;
mod session;
mod slot;
mod statement;
mod tool_proxy;
mod wire;

use crate::orders::orders;
use crate::record::Deed;
use anyhow::Context;
use door::Door;
use fury::Fury;
use http_door::HttpDoor;
use journal::{Journal, deed, give_up};
use postgres::Postgres;
use schedule::Schedule;
use slot::{Doors, Setup, Slot};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often victims are looked after that were not killed by us.
const TEND_PERIOD: Duration = Duration::from_millis(20);
/// A victim that ends by itself may do so again and again.
const ENDED_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where `nemesis.jsonl` is written, and the logs of the victims
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[arg(long)]
    pub(crate) seed: u64,
    #[arg(long, default_value_t = 4)]
    pub(crate) workers: u16,
    #[arg(long)]
    pub(crate) ledger_url: String,
    #[arg(long)]
    pub(crate) model_url: String,
    /// The `longhaul` command
    #[arg(long)]
    pub(crate) program: PathBuf,
    /// A fault planted in workers, by its name
    #[arg(long)]
    pub(crate) planted: Option<String>,
}

/// Who has the time after the faults for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Cures whatever the others fell ill with.
    Fresh,
    /// Shows whether it fell ill: alive and of no use.
    Oldest,
}

impl Last {
    const fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) {
            Self::Fresh
        } else {
            Self::Oldest
        }
    }
}

/// All victims.
struct Field {
    slots: Vec<Arc<Slot>>,
    postgres: Postgres,
    http_door: HttpDoor,
    journal: Arc<Journal>,
    /// Told when a worker records something.
    work_seen: Arc<Notify>,
}

pub(crate) async fn rage(options: Options) -> anyhow::Result<()> {
    let field = Arc::new(Field::prepare(&options).await?);
    for slot in &field.slots {
        tokio::spawn(tend(Arc::clone(slot)));
    }
    tokio::spawn(tend_http_door(Arc::clone(&field)));
    let addresses = serde_json::json!({
        "database_url": field.postgres.url,
        "api_url": field.http_door.url(),
    });
    println!("{addresses}");
    let calm = CancellationToken::new();
    let mut raging: Option<JoinHandle<()>> = None;
    let mut orders = orders();
    while let Some(order) = orders.recv().await {
        match order.trim() {
            "begin" if raging.is_none() => {
                for slot in &field.slots {
                    slot.want();
                }
                let schedule = Schedule::of(options.seed, usize::from(options.workers));
                let fury = Fury::new(Arc::clone(&field), calm.clone());
                raging = Some(tokio::spawn(fury.rage(schedule)));
            }
            "quiet" => {
                calm.cancel();
                if let Some(raging) = raging.take() {
                    raging.await?;
                }
                field.mend(Last::of(options.seed)).await?;
                println!("quiet");
            }
            other => anyhow::bail!("no such order: {other}"),
        }
    }
    calm.cancel();
    if let Some(raging) = raging {
        raging.await?;
    }
    field.end().await
}

/// Keeps a worker in its slot.
async fn tend(slot: Arc<Slot>) {
    loop {
        let pause = if slot.tend() { TEND_PERIOD } else { ENDED_PAUSE };
        let _ = tokio::time::timeout(pause, slot.emptied.notified()).await;
    }
}

async fn tend_http_door(field: Arc<Field>) {
    loop {
        tokio::time::sleep(ENDED_PAUSE).await;
        field.http_door.tend().await.unwrap_or_else(|error| give_up(&error));
    }
}

impl Field {
    async fn prepare(options: &Options) -> anyhow::Result<Self> {
        std::fs::create_dir_all(options.folder.join("logs"))?;
        let setup = Arc::new(Setup {
            program: options.program.canonicalize().context("no such program")?,
            folder: options.folder.canonicalize()?,
            model_url: options.model_url.clone(),
            planted: options.planted.clone(),
        });
        let journal = Arc::new(Journal::open(&setup.folder)?);
        let postgres = Postgres::start(&setup.folder, Arc::clone(&journal)).await?;
        migrate(&setup, &postgres.url).await?;
        let ledger = options
            .ledger_url
            .strip_prefix("http://")
            .unwrap_or(&options.ledger_url);
        let ledger: SocketAddr = ledger.trim_end_matches('/').parse().context("where is the ledger?")?;
        let work_seen = Arc::default();
        let mut slots = Vec::new();
        for number in 1..=usize::from(options.workers) {
            let database = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let tools = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let role = postgres.url.split_once('@').map_or("", |(role, _)| role);
            let doors = Doors {
                database_url: format!("{role}@{}/longhaul?sslmode=disable", database.local_addr()?),
                ledger_url: format!("http://{}", tools.local_addr()?),
            };
            let slot = Slot::new(number, Arc::clone(&setup), doors, Arc::clone(&journal)).telling(&work_seen);
            let slot = Arc::new(slot);
            let door = |target| Door {
                slot: Arc::clone(&slot),
                target,
            };
            tokio::spawn(database_proxy::serve(database, door(postgres.address)));
            tokio::spawn(tool_proxy::serve(tools, door(ledger)));
            slots.push(slot);
        }
        let http_door = HttpDoor::open(setup, postgres.url.clone(), Arc::clone(&journal)).await?;
        Ok(Self {
            slots,
            postgres,
            http_door,
            journal,
            work_seen,
        })
    }

    /// Everything is well again, and one worker is left. No fault lasts any more.
    async fn mend(&self, last: Last) -> anyhow::Result<()> {
        let kept = match last {
            Last::Fresh => None,
            Last::Oldest => self.oldest(),
        };
        let is_kept = |slot: &Slot| kept.as_ref().is_some_and(|(kept, _)| kept.number == slot.number);
        for slot in self.slots.iter().filter(|slot| !is_kept(slot)) {
            slot.clear();
        }
        self.postgres.ready().await?;
        self.http_door.ready().await?;
        let (last, who) = match &kept {
            Some((slot, age)) => (*slot, format!("kept, {:.1} s old", age.as_secs_f64())),
            None => (self.slots.first().context("no workers")?, "fresh".to_owned()),
        };
        last.want();
        while !last.is_able() {
            tokio::time::sleep(TEND_PERIOD).await;
        }
        self.journal.write(deed(Deed::Quiet).to(&last.life().name).saying(who));
        Ok(())
    }

    /// The worker that has lived through most.
    fn oldest(&self) -> Option<(&Arc<Slot>, Duration)> {
        let able = self.slots.iter().filter(|slot| slot.is_able());
        able.map(|slot| (slot, slot.life().age())).max_by_key(|(_, age)| *age)
    }

    async fn end(&self) -> anyhow::Result<()> {
        for slot in &self.slots {
            slot.clear();
        }
        self.http_door.close().await;
        self.postgres.stop().await
    }
}

async fn migrate(setup: &Setup, database_url: &str) -> anyhow::Result<()> {
    let migrated = tokio::process::Command::new(&setup.program)
        .arg("migrate")
        .current_dir(&setup.folder)
        .env("LONGHAUL_DATABASE_URL", database_url)
        .output()
        .await
        .context("cannot start the program")?;
    let told = String::from_utf8_lossy(&migrated.stderr);
    anyhow::ensure!(migrated.status.success(), "the database cannot be prepared: {told}");
    Ok(())
}
