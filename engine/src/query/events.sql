select
    event.seq as "seq!", event.at as "at!", event.kind as "kind!", event.step_seq, event.worker,
    event.data as "data: Shown"
from longhaul_audit.event
where event.run_id = $1
  and event.seq > $2
order by event.seq
limit $3
