-- The third statement of reclaiming, in the transaction that holds the locks: a snapshot taken after them sees every
-- event of the old holder, so the numbers go on without a gap.
with last as (
    select run.id, run.worker_id, greatest(run.event_seq, coalesce(newest.seq, 0)) as seq
    from longhaul.run
    left join lateral (
        select event.seq
        from longhaul.event
        where event.run_id = run.id
        order by event.seq desc
        limit 1
    ) as newest on true
    where run.id = any ($1::uuid[])
), reclaimed as (
    update longhaul.run
    set state     = 'queued',
        due_at    = coalesce($2::timestamptz, now()),
        worker_id = null,
        crashes   = run.crashes + 1,
        event_seq = last.seq + 1
    from last
    where run.id = last.id
    returning run.id, run.event_seq, run.fence, run.crashes, last.worker_id as old_worker
)
insert into longhaul.event (run_id, seq, kind, worker_id, fence, at, data)
select
    reclaimed.id, reclaimed.event_seq, 'run.reclaimed', reclaimed.old_worker, reclaimed.fence,
    coalesce($2::timestamptz, now()), json_build_object('crashes', reclaimed.crashes)
from reclaimed
returning event.run_id as "run_id: RunId"
