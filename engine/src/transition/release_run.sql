-- Gives a run back to its queue, due at once. A shutdown is not a crash; a driver that broke is, and its run waits a
-- second, so that it does not go round and round.
with released as (
    update longhaul.run
    set state     = 'queued',
        due_at    = coalesce($6::timestamptz, now()) + make_interval(secs => $7::boolean::integer),
        crashes   = run.crashes + $7::boolean::integer,
        worker_id = null,
        event_seq = $3 + 1
    where run.id = $1
      and run.fence = $2
      and run.state = 'running'
    returning run.id
)
insert into longhaul.event (run_id, seq, kind, worker_id, fence, at, data)
select released.id, $3 + 1, 'run.released', $4, $2, coalesce($6::timestamptz, now()), json_build_object('why', $5::text)
from released
returning event.seq
