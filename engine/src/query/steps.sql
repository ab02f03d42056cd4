-- A run's journal, as its driver takes it up.
select
    step.seq,
    coalesce(step.turn, 0) as "turn!",
    coalesce(step.call_index, 0) as "call_index!",
    step.identity,
    step.kind,
    step.name,
    step.call_id,
    step.state,
    step.effect,
    step.key,
    step.attempt,
    step.attempts_max,
    step.maybe_applied,
    step.replaces_seq,
    step.fence as "fence: Fence",
    step.due_at,
    step.budget_from,
    step.attempt_started_at,
    step.request_digest,
    step.request::text as request,
    step.result::text as result,
    step.error::text as error
from longhaul.step
where step.run_id = $1
order by step.seq
