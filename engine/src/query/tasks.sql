-- A workflow's journal, as its driver takes it up.
select
    step.seq,
    step.identity as "identity!",
    step.kind,
    step.name,
    step.state,
    step.effect,
    step.key,
    step.attempt,
    step.attempts_max,
    step.maybe_applied,
    step.fence as "fence: Fence",
    step.due_at,
    step.budget_from,
    step.request_digest,
    step.request::text as request,
    step.result::text as result,
    step.error::text as error
from longhaul.step
where step.run_id = $1
  and step.identity is not null
order by step.seq
