-- Every attempt of every step, oldest first.
select
    step.seq as "seq!", step.turn, step.identity, step.kind as "kind!", step.name as "name!", step.state as "state!",
    step.effect as "effect!", step.key as "key!", step.maybe_applied as "maybe_applied!", step.replaces_seq,
    step.due_at, step.created_at as "created_at!", step.ended_at,
    coalesce(attempt.attempt, 0) as "attempt!", attempt.worker as "worker?", attempt.started_at as "started_at?",
    attempt.ended_at as "attempt_ended_at?", attempt.error as "error?: Shown",
    attempt.evidence as "evidence?: Shown", step.result as "result: Shown",
    step.error as "step_error: Shown",
    coalesce(attempt.attempt = step.attempts or step.attempts = 0, true) as "is_last!"
from longhaul_audit.step
left join longhaul_audit.attempt on attempt.run_id = step.run_id and attempt.step_seq = step.seq
where step.run_id = $1
  and step.seq in (
      select page.seq
      from longhaul.step as page
      where page.run_id = $1
        and page.seq > $2
      order by page.seq
      limit $3)
order by step.seq, attempt.attempt
