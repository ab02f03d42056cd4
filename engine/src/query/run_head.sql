select
    run.tenant, run.state, run.ended_at is not null as "has_ended!",
    coalesce((select max(event.seq) from longhaul.event where event.run_id = run.id), 0) as "event_seq!"
from longhaul.run
where run.id = $1
