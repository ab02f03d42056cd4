-- Puts parked runs whose time has come back into their queues, as far back as the look reaches (engine/src/reach.rs).
with due as (
    select run.id
    from longhaul.run
    where run.state = 'waiting'
      and run.due_at <= coalesce($2::timestamptz, now())
      and run.due_at >= coalesce($3::timestamptz, '-infinity')
      and run.paused_at is null
    order by run.due_at
    limit $1
    for no key update skip locked
), woken as (
    update longhaul.run
    set state       = 'queued',
        waiting_for = null,
        wait_reason = null,
        event_seq   = run.event_seq + 1,
        wakes       = run.wakes + 1
    from due
    where run.id = due.id
    returning run.id, run.event_seq, run.fence
)
insert into longhaul.event (run_id, seq, kind, fence, at)
select woken.id, woken.event_seq, 'run.woken', woken.fence, coalesce($2::timestamptz, now())
from woken
returning event.run_id as "run_id: RunId"
