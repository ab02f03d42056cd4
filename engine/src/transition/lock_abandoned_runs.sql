-- The second statement of reclaiming: locks runs whose worker is closed. Once the lock is held, a batch of their old
-- holder has either committed or will find the fence moved on.
-- Ordered after they are found: a plan made while there were few runs would look through all of them in this order.
select abandoned.id as "id!: RunId"
from (
    select run.id
    from longhaul.run
    join longhaul.worker on worker.id = run.worker_id
    where run.worker_id is not null
      and worker.closed_at is not null
    limit $1
    for no key update of run skip locked
) as abandoned
order by abandoned.id
