-- The third statement of reclaiming, in the transaction that holds the locks: a snapshot taken after them sees every
-- event of the old holder, so the numbers go on without a gap. A run that has lost too many workers since its last
-- result is parked for a person instead of taking the next one, unless it only has to be ended. No pause keeps that one
-- from its end.
with last as (
    select
        run.id, run.worker_id, greatest(run.event_seq, coalesce(newest.seq, 0)) as seq,
        run.crashes + 1 < $3 or run.cancel_requested_at is not null as goes_on
    from unnest($1::uuid[]) as abandoned (id)
    join longhaul.run on run.id = abandoned.id
    left join lateral (
        select event.seq
        from longhaul.event
        where event.run_id = run.id
        order by event.seq desc
        limit 1
    ) as newest on true
), reclaimed as (
    update longhaul.run
    set state        = case when last.goes_on then 'queued' else 'waiting' end,
        waiting_for  = case when last.goes_on then null else 'approval' end,
        wait_reason  = case when last.goes_on then null else 'crashes' end,
        due_at       = case when last.goes_on then coalesce($2::timestamptz, now()) end,
        worker_id    = null,
        crashes      = run.crashes + 1,
        event_seq    = last.seq + 1,
        paused_at    = case when run.cancel_requested_at is null then run.paused_at end,
        paused_by    = case when run.cancel_requested_at is null then run.paused_by end,
        pause_reason = case when run.cancel_requested_at is null then run.pause_reason end
    from last
    where run.id = last.id
    returning run.id, run.state, run.event_seq, run.fence, run.crashes, last.worker_id as old_worker
)
insert into longhaul.event (run_id, seq, kind, worker_id, fence, at, data)
select
    reclaimed.id, reclaimed.event_seq, 'run.reclaimed', reclaimed.old_worker, reclaimed.fence,
    coalesce($2::timestamptz, now()),
    json_build_object('crashes', reclaimed.crashes, 'quarantined', reclaimed.state = 'waiting')
from reclaimed
returning event.run_id as "run_id: RunId"
