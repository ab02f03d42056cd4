//! A workflow that does what its input tells: waits, naps, sells in a transaction and has children, for tests of crashes.

use crate::errand::{self, Noted};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use worker::{ChildRun, Context, WorkflowError};

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Tale {
    /// The file that each noted step leaves a line in.
    ledger: String,
    deeds: Vec<Deed>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Deed {
    /// Leaves a line with its key; answers once the gate is there.
    Note {
        gate: Option<String>,
    },
    /// For a signal of this name.
    Wait {
        name: String,
        millis: Option<u64>,
    },
    Nap {
        millis: u64,
    },
    /// A row in the table `sale`.
    Sell {
        item: String,
    },
    /// A child, and its end.
    Child {
        deeds: Vec<Self>,
    },
    /// A child, unless it takes longer than this.
    Hurry {
        millis: u64,
        deeds: Vec<Self>,
    },
    /// Children, of which the first to end counts.
    Race {
        of: Vec<Vec<Self>>,
    },
}

/// The output is what came of each deed.
pub(crate) fn tale(ctx: Context, tale: Tale) -> BoxFuture<'static, Result<Vec<Value>, WorkflowError>> {
    async move {
        let mut told = Vec::new();
        for deed in &tale.deeds {
            told.push(done(&ctx, &tale.ledger, deed).await?);
        }
        Ok(told)
    }
    .boxed()
}

async fn done(ctx: &Context, ledger: &str, deed: &Deed) -> Result<Value, WorkflowError> {
    let child = |deeds: &[Deed]| {
        let tale = Tale {
            ledger: ledger.to_owned(),
            deeds: deeds.to_vec(),
        };
        ChildRun::workflow("tale", tale)
    };
    Ok(match deed {
        Deed::Note { gate } => {
            let noted = Noted::of(ledger, gate.as_deref());
            ctx.step("note", noted, errand::note).idempotent().await?;
            json!("noted")
        }
        Deed::Wait { name, millis } => {
            let timeout = millis.map(Duration::from_millis);
            json!(ctx.wait_signal::<Value>(name, timeout).await?)
        }
        Deed::Nap { millis } => {
            ctx.sleep(Duration::from_millis(*millis)).await?;
            json!("slept")
        }
        Deed::Sell { item } => {
            let sold = ctx.transaction("sell", item.clone(), |tx, item| {
                async move {
                    sqlx::query("insert into sale values ($1)")
                        .bind(item)
                        .execute(tx)
                        .await?;
                    Ok(())
                }
                .boxed()
            });
            sold.await?;
            json!("sold")
        }
        Deed::Child { deeds } => match ctx.run_child::<Value>(child(deeds)).await {
            Ok(told) => told,
            Err(failed) => json!(failed.code()),
        },
        Deed::Hurry { millis, deeds } => {
            let started = ctx.start_child(child(deeds)).await?;
            let nap = ctx.sleep(Duration::from_millis(*millis));
            tokio::select! {
                biased;
                told = ctx.join::<Value>(&started) => told.unwrap_or_else(|failed| json!(failed.code())),
                slept = nap => {
                    slept?;
                    json!("too late")
                }
            }
        }
        Deed::Race { of } => {
            let mut joins = Vec::new();
            for deeds in of {
                let racer = ctx.start_child(child(deeds)).await?;
                joins.push(ctx.join::<Value>(&racer).boxed());
            }
            let (first, number, _) = select_all(joins).await;
            match first {
                Ok(_) => json!(number),
                Err(failed) => json!(failed.code()),
            }
        }
    })
}
