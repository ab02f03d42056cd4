-- How a run failed that somebody has let go on since then, and the children that ended with it.
select
    event.fence as "fence: Fence",
    event.data::text as "error!",
    array(
        select child.id
        from longhaul.run as child
        where child.parent_id = $1
          and child.cancel_requested_by = 'run ' || $1::text
    ) as "children!: Vec<RunId>"
from longhaul.event
where event.run_id = $1
  and event.kind = 'run.failed'
order by event.seq desc
limit 1
