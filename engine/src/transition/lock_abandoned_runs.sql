-- The second statement of reclaiming: locks runs whose worker is closed. Once the lock is held, a batch of their old
-- holder has either committed or will find the fence moved on.
select run.id as "id: RunId"
from longhaul.run
join longhaul.worker on worker.id = run.worker_id
where run.worker_id is not null
  and worker.closed_at is not null
order by run.id
limit $1
for no key update of run skip locked
