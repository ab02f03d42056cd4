//! A workflow of docs/workflows.md: `cargo run --example settle-invoices -- dev`.

use serde::{Deserialize, Serialize};
use worker::{Context, FunctionError, Program, StepCall, WorkflowError, Workflows};

#[derive(Clone, Serialize, Deserialize)]
struct Invoice {
    id: String,
    cents: u64,
}

async fn settle_invoices(ctx: Context, invoices: Vec<Invoice>) -> Result<u64, WorkflowError> {
    let receipts = ctx
        .parallel("invoice", invoices, |ctx, invoice| async move {
            // At most once, unless it is told otherwise: a charge that may have happened is put before a person.
            ctx.step("charge", invoice.clone(), charge).await?;
            // What honours the key may be repeated.
            ctx.step("tell the customer", invoice.clone(), tell)
                .idempotent()
                .await?;
            Ok::<_, WorkflowError>(invoice.cents)
        })
        .await;
    // One that failed fails the run. Whoever resumes it has that one done anew, and no other.
    let settled: u64 = receipts.into_iter().sum::<Result<u64, _>>()?;
    // A week costs one row, and no worker.
    ctx.sleep(std::time::Duration::from_secs(7 * 24 * 3600)).await?;
    Ok(settled)
}

async fn charge(call: StepCall, invoice: Invoice) -> Result<String, FunctionError> {
    // Pass call.key on to whatever is called: it is the same in every attempt.
    Ok(format!("receipt of {} under {}", invoice.id, call.key))
}

async fn tell(_: StepCall, _: Invoice) -> Result<(), FunctionError> {
    Ok(())
}

fn main() -> std::process::ExitCode {
    let mut workflows = Workflows::new();
    workflows.register("settle-invoices", settle_invoices);
    cli::main_with(Program {
        workflows,
        ..Program::default()
    })
}
