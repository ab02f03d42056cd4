-- Which of these children have ended, and how.
select
    run.id as "run: RunId",
    run.state,
    run.result::text as result,
    run.error::text as error
from longhaul.run
where run.id = any ($1)
  and run.ended_at is not null
