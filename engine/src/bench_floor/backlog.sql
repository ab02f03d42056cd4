-- How many runs of a queue nobody has taken yet; counted up to a bound.
select count(*)
from (
    select
    from longhaul.run
    where run.queue = $1
      and run.state = 'queued'
      and run.paused_at is null
    limit $2
) as queued
