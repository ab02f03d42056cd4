-- Asks people about those of these runs that were parked because they killed their workers or broke their drivers.
select longhaul.open_approval(run.id, null)::text as asked
from longhaul.run
where run.id = any ($1)
  and run.state = 'waiting'
