-- The fourth statement of reclaiming: asks people about the runs that it parked.
select longhaul.open_approval(run.id, null)::text as asked
from longhaul.run
where run.id = any ($1)
  and run.state = 'waiting'
