-- Gives a run back to its queue, due at once. A shutdown or a pause is no crash. A driver that broke is one: its run waits
-- a second, so that it does not go round and round, and is parked for a person when it has broken too often,
-- unless it only has to be ended. No pause keeps that one from its end.
with holder as (
    select run.id, run.crashes + $7::integer < $8 or run.cancel_requested_at is not null as goes_on
    from longhaul.run
    where run.id = $1
      and run.fence = $2
      and run.state = 'running'
    for no key update
), released as (
    update longhaul.run
    set state        = case when holder.goes_on then 'queued' else 'waiting' end,
        waiting_for  = case when holder.goes_on then null else 'approval' end,
        wait_reason  = case when holder.goes_on then null else 'crashes' end,
        due_at       = case when holder.goes_on
                            then coalesce($6::timestamptz, now()) + make_interval(secs => $7) end,
        crashes      = run.crashes + $7::integer,
        worker_id    = null,
        event_seq    = $3 + 1,
        paused_at    = case when run.cancel_requested_at is null then run.paused_at end,
        paused_by    = case when run.cancel_requested_at is null then run.paused_by end,
        pause_reason = case when run.cancel_requested_at is null then run.pause_reason end
    from holder
    where run.id = holder.id
    returning run.id, run.paused_at, run.paused_by, run.pause_reason
)
insert into longhaul.event (run_id, seq, kind, worker_id, fence, at, data)
select
    released.id, $3 + 1,
    case when $5 = 'paused' and released.paused_at is not null then 'run.paused' else 'run.released' end,
    $4, $2, coalesce($6::timestamptz, now()),
    case when $5 = 'paused' and released.paused_at is not null
         then json_build_object('by', released.paused_by, 'reason', released.pause_reason)
         else json_build_object('why', $5::text) end
from released
returning event.seq
