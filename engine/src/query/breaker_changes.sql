-- The newest changes of a breaker's state.
select
    breaker_change.at as "at!", breaker_change.state as "state!", breaker_change.why as "why!",
    breaker_change.run_id as "run: RunId", breaker_change.step_seq as step, breaker_change.error_code,
    breaker_change.actor, breaker_change.reason, breaker_change.retry_at
from longhaul_audit.breaker_change
where breaker_change.tenant = $1
  and breaker_change.scope = $2
order by breaker_change.generation desc
limit $3
