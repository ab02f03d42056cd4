-- Steps of a tenant that succeeded between two readings.
select
    count(*) filter (where step.kind = 'model') as turns,
    count(*) as steps
from longhaul.run
join longhaul.step on step.run_id = run.id
where run.tenant = $1
  and step.state = 'succeeded'
  and step.ended_at > $2
  and step.ended_at <= $3
