-- Parks a run: it costs nothing until something wakes it.
-- No row: the fence has moved on, or something woke the run since its holder last looked; nothing was written.
with parked as (
    update longhaul.run
    set state       = 'waiting',
        waiting_for = $5,
        wait_reason = $6,
        due_at      = $7,
        worker_id   = null,
        event_seq   = $4 + 1
    where run.id = $1
      and run.fence = $2
      and run.state = 'running'
      and run.wakes = $3
      and run.cancel_requested_at is null
    returning run.id
)
insert into longhaul.event (run_id, seq, kind, worker_id, fence, at, data)
select
    parked.id, $4 + 1, 'run.parked', $8, $2, coalesce($9::timestamptz, now()),
    json_build_object('for', $5::text, 'reason', $6::text, 'until', $7::timestamptz)
from parked
returning event.seq
