//! The SQL that shows what the command line shows: `longhaul_audit` is the promised read surface.

use engine::RunId;

/// Statements for `psql`: the run, its conversation, its journal and its events.
pub(crate) fn of_run(run: RunId) -> String {
    format!(
        "\
-- The run.
select state, waiting_for, wait_reason, kind, agent, agent_version, worker, created_at, ended_at, result, error
from longhaul_audit.run
where run_id = '{run}';

-- The conversation, as the model was shown it.
select position, role, tool, text
from longhaul_audit.transcript
where run_id = '{run}'
order by position;

{journal}

-- What it was told, and which step took it.
select at, name, id, sender, taken_by, payload
from longhaul_audit.signal
where run_id = '{run}'
order by at;

-- The runs that it started.
select run_id, kind, agent, state, on_parent_end, created_at, ended_at
from longhaul_audit.run
where parent_id = '{run}'
order by run_id;

-- What happened, fact by fact.
select seq, at, kind, step_seq, worker, data
from longhaul_audit.event
where run_id = '{run}'
order by seq;",
        journal = journal(run)
    )
}

/// The journal, one row per attempt: an attempt without an end was cut by its worker's death.
pub(crate) fn journal(run: RunId) -> String {
    format!(
        "\
-- The journal: every attempt of every step. One without an end was cut by its worker's death.
select step.seq, step.kind, coalesce(step.identity, step.name) as name, step.state, step.effect, attempt.attempt, attempt.worker,
    attempt.started_at, attempt.ended_at, attempt.error
from longhaul_audit.step
left join longhaul_audit.attempt on attempt.run_id = step.run_id and attempt.step_seq = step.seq
where step.run_id = '{run}'
order by step.seq, attempt.attempt;"
    )
}
