-- The order in which steps came to their ends.
select event.step_seq as "step_seq!", max(event.seq) as "seq!"
from longhaul.event
where event.run_id = $1
  and event.kind in ('step.succeeded', 'step.failed')
group by event.step_seq
