-- Breakers of a tenant, those that keep calls back first. One that never had a failure has no row.
select
    breaker.scope as "scope!", breaker.state as "state!", breaker.failures as "failures!",
    breaker.failures_max as "failures_max!", breaker.cooldown_seconds as "cooldown_seconds!",
    breaker.changed_at as "changed_at!", breaker.error_code, breaker.retry_at, breaker.trial_run_id as "trial_run: RunId",
    breaker.trial_step_seq as trial_step, breaker.waiting as "waiting!"
from longhaul_audit.breaker
where breaker.tenant = $1
  and ($2::text is null or breaker.scope = $2)
order by breaker.state = 'closed', breaker.scope
limit $3
