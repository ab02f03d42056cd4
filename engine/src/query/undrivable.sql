-- Why nobody drives a run: what live workers there are, and what they lack.
with live as (
    select worker.queues, worker.kinds, worker.functions
    from longhaul.worker
    where worker.closed_at is null
      and worker.lease_expires_at > now()
)
select
    (select count(*) from live) as "workers_alive!",
    (select count(*) from live where run.queue = any (live.queues)) as "workers_of_queue!",
    exists (select from live where run.queue = any (live.queues) and run.kind = any (live.kinds)) as "kind_known!",
    array(
        select needed.name
        from unnest(run.functions) as needed (name)
        where not exists (
            select from live
            where run.queue = any (live.queues)
              and run.kind = any (live.kinds)
              and needed.name = any (live.functions)
        )
        order by needed.name
    ) as "functions_missing!",
    run.functions as "functions!"
from longhaul.run
where run.id = $1
