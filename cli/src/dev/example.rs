//! What there is to try: the refund desk with its files and its payments service, and a script that plays the model
//! where there is no key for one.

use super::state::StateFolder;
use crate::args::Global;
use crate::failure::{Exit, Failure};
use crate::output::{self, style};
use ::worker::{Environment, ModelEndpoint};
use agent::definition::{Agent, ToolAction, digest_text, read};
use anyhow::anyhow;
use engine::{ApplyAgent, Engine, payload};
use rehearsal::payments::{Payments, PaymentsOptions};
use rehearsal::{Rehearsal, Script};
use std::fs;
use std::path::{Path, PathBuf};

/// The example, as it stands in the repository.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("agent.toml", include_str!("../../../examples/refund-desk/agent.toml")),
    ("orders.csv", include_str!("../../../examples/refund-desk/orders.csv")),
    (
        "refund-policy.md",
        include_str!("../../../examples/refund-desk/refund-policy.md"),
    ),
];
/// What its model says.
pub(crate) const SCRIPT: &str = include_str!("../../../examples/refund-desk/rehearsal.toml");

/// What the script says to an agent that it has no words for.
const NO_WORDS: &str = r#"
[[rule]]
name = "no words"
answer.text = """
There is no key for a model, so a script plays it, and the script has no words for this agent. Start longhaul dev with \
ANTHROPIC_API_KEY to call the real model, or with --script FILE to play a script of your own."""
"#;

/// Nobody looks at it: payments are played too.
const PAYMENTS_TOKEN: &str = "a-token-for-the-example";

/// A script of somebody's own.
pub(super) struct OwnScript {
    path: PathBuf,
    text: String,
}

/// Who plays the model.
#[derive(Debug, Clone)]
pub(super) enum Model {
    /// Scripts: the example's, and these.
    Script(Vec<PathBuf>),
    /// The one at this address.
    Real(String),
}

/// The outside world, within this process.
pub(super) struct World {
    model: Model,
    rehearsal: Option<Rehearsal>,
    endpoint: ModelEndpoint,
    payments: Payments,
}

/// What became of the example's agent.
#[derive(Debug, Clone)]
pub(super) struct AppliedExample {
    pub(super) name: String,
    /// Somebody applied another one under its name, which was left alone.
    pub(super) is_replaced: bool,
}

/// Reads them, so that a mistake is told before anything is started.
pub(super) fn read_scripts(paths: &[PathBuf]) -> Result<Vec<OwnScript>, Failure> {
    let read_one = |path: &PathBuf| {
        Script::read(path).map_err(|error| crate::command::unplayable(&error))?;
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::usage("unreadable_file", format!("could not read {}: {error}", path.display()))
        })?;
        Ok(OwnScript {
            path: path.clone(),
            text,
        })
    };
    paths.iter().map(read_one).collect()
}

impl World {
    /// Starts it. A script plays where one was given, or where there is neither a key nor an address for a model.
    pub(super) async fn start(global: &Global, state: &StateFolder, scripts: Vec<OwnScript>) -> anyhow::Result<Self> {
        let settings = &global.settings;
        let (key, url) = (settings.value("model_key"), settings.value("model_url"));
        let (model, rehearsal, endpoint) = if scripts.is_empty() && (key.is_some() || url.is_some()) {
            let endpoint = ModelEndpoint {
                base_url: url.unwrap_or_else(|| ModelEndpoint::BASE_URL.to_owned()),
                api_key: key.map(Into::into),
            };
            (Model::Real(endpoint.base_url.clone()), None, endpoint)
        } else {
            // The first rule that holds answers: somebody's own come first.
            let texts: Vec<&str> = scripts.iter().map(|script| script.text.as_str()).collect();
            let script = Script::from_toml(&format!("{}\n{SCRIPT}\n{NO_WORDS}", texts.join("\n")))?;
            let rehearsal = Rehearsal::start(script).await?;
            let endpoint = ModelEndpoint {
                base_url: rehearsal.base_url(),
                api_key: Some("no-key-is-needed-here".to_owned().into()),
            };
            let paths = scripts.into_iter().map(|script| script.path).collect();
            (Model::Script(paths), Some(rehearsal), endpoint)
        };
        let folder = folder(state);
        write_files(&folder).map_err(|error| {
            let message = format!("could not write {}: {error}", folder.display());
            Failure::new(Exit::Failed, "state_folder_unusable", message)
        })?;
        let payments = Payments::start(PaymentsOptions::new(folder.join("payments-ledger.jsonl"))).await?;
        Ok(Self {
            model,
            rehearsal,
            endpoint,
            payments,
        })
    }

    pub(super) const fn model(&self) -> &Model {
        &self.model
    }

    pub(super) fn endpoint(&self) -> ModelEndpoint {
        self.endpoint.clone()
    }

    /// The process's own, and what the example's tools ask for besides.
    pub(super) fn environment(&self) -> Environment {
        let url = self.payments.base_url();
        Environment::new(move |name| {
            std::env::var(name).ok().or_else(|| match name {
                "PAYMENTS_URL" => Some(url.clone()),
                "PAYMENTS_TOKEN" => Some(PAYMENTS_TOKEN.to_owned()),
                _ => None,
            })
        })
    }

    pub(super) async fn stop(self) {
        if let Some(rehearsal) = self.rehearsal {
            rehearsal.stop().await;
        }
        self.payments.stop().await;
    }
}

fn folder(state: &StateFolder) -> PathBuf {
    state.path().join("examples").join("refund-desk")
}

fn write_files(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in FILES {
        let file = folder.join(name);
        // What is there is somebody's: edited, or of the release that made it.
        if !file.exists() {
            fs::write(file, text)?;
        }
    }
    Ok(())
}

/// The agent of the edited file, or the example's where the file cannot be applied.
fn definition(folder: &Path) -> anyhow::Result<Agent> {
    let file = folder.join(FILES[0].0);
    let edited = fs::read_to_string(&file)
        .map_err(anyhow::Error::from)
        .and_then(|text| understood(&text));
    edited.or_else(|error| {
        let label = style::yellow("warning:");
        output::note(format!("{label} {} is not applied: {error}", file.display()));
        understood(FILES[0].1)
    })
}

fn understood(text: &str) -> anyhow::Result<Agent> {
    let readout = read(text).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow!("{}", told.join("; "))
    })?;
    Ok(readout.agent)
}

/// The names of the files that are not as this release has them.
fn kept(folder: &Path) -> Vec<&'static str> {
    let differs =
        |(name, text): &(&'static str, &str)| fs::read(folder.join(name)).is_ok_and(|found| found != text.as_bytes());
    FILES
        .iter()
        .filter(|file| differs(file))
        .map(|(name, _)| *name)
        .collect()
}

/// Applies the example's agent, whose tools find their files wherever the worker was started. One that somebody applied
/// under its name is left alone, and so is a file that somebody edited.
pub(super) async fn apply(engine: &Engine, global: &Global, state: &StateFolder) -> anyhow::Result<AppliedExample> {
    let tenant = global.tenant.as_str();
    let folder = folder(state);
    let kept = kept(&folder);
    if !kept.is_empty() && !global.json {
        let (names, shown) = (kept.join(", "), state.shown());
        output::note(style::dim(format!(
            "{names} in {shown}/examples/refund-desk: edited, and kept as found"
        )));
    }
    let is_edited = kept.contains(&FILES[0].0);
    let mut agent = if is_edited {
        definition(&folder)?
    } else {
        understood(FILES[0].1)?
    };
    for tool in &mut agent.tools {
        if let ToolAction::Command(command) = &mut tool.action {
            command.working_dir = Some(folder.display().to_string());
        }
    }
    // What an earlier start applied, this one may replace.
    let remembered = folder.join("applied");
    let known = fs::read_to_string(&remembered).unwrap_or_default();
    let current = engine.agent_list(tenant, Some(&agent.name)).await?.into_iter().next();
    let is_there = current.is_some();
    let is_replaced = current.is_some_and(|current| payload::hex(&current.digest) != known.trim());
    // An edited file is for its editor to apply; one that is as it came may have moved with its folder.
    if !is_there || (!is_replaced && !is_edited) {
        let definition = digest_text(&agent);
        engine
            .apply_agent(ApplyAgent {
                tenant,
                name: &agent.name,
                definition: &definition,
                functions: &agent.functions(),
            })
            .await?;
        fs::write(&remembered, payload::hex(&payload::digest(&definition)))?;
    }
    Ok(AppliedExample {
        name: agent.name,
        is_replaced,
    })
}
