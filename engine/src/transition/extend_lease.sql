-- Extends the one lease of a worker for all that it holds, and tells which of its runs want attention.
-- One row at least: extended. No row: the lease had expired or the worker was closed, and nothing was changed.
with extended as (
    update longhaul.worker
    set lease_expires_at = coalesce($3::timestamptz, now()) + make_interval(secs => $2::double precision / 1000)
    where worker.id = $1
      and worker.closed_at is null
      and worker.lease_expires_at > coalesce($3::timestamptz, now())
    returning worker.id
)
select
    run.id as "run_id?: RunId",
    run.wakes as "wakes?",
    run.cancel_requested_at is not null as "cancel_requested?",
    run.paused_at is not null as "paused?"
from extended
left join longhaul.run
    on run.worker_id = extended.id
   and (run.cancel_requested_at is not null or run.paused_at is not null or run.wakes > 0)
