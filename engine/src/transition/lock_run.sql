-- Waits until nobody else has the run's row, and says whether it is still held under this fence. What a batch passed over
-- is recorded behind this.
select run.fence = $2 and run.state = 'running' as "held!"
from longhaul.run
where run.id = $1
for no key update
