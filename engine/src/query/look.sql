-- What the holder of a run must know before it looks again. No row: the fence has moved on.
select
    run.wakes,
    run.cancel_requested_at is not null as "cancel_requested!",
    run.paused_at is not null as "paused!",
    (select max(event.seq) from longhaul.event where event.run_id = run.id) as "event_seq!"
from longhaul.run
where run.id = $1
  and run.fence = $2
  and run.state = 'running'
for no key update
