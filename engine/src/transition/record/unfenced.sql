-- A planted fault: record.sql with the fence dropped from its holder, so that whoever once held a run may write to it.
-- The number of an event would still give a late writer away, since the next holder has used it: here it is the next
-- one that is free.
with holder as (
    select run.id, run.wakes, run.cancel_requested_at, run.paused_at
    from longhaul.run
    where run.id = $1
      and run.state = 'running'
    for no key update
), permitted as (
    select holder.id
    from holder
    where not $4
       or (holder.cancel_requested_at is null and holder.paused_at is null)
), last as (
    select max(event.seq) as seq
    from longhaul.event
    where event.run_id = $1
), begun as (
    insert into longhaul.step (
        run_id, seq, turn, call_index, kind, name, call_id, state, effect, key, attempt, attempts_max, maybe_applied,
        replaces_seq, worker_id, fence, created_at, budget_from, attempt_started_at, ended_at, request_digest, request, result,
        error)
    select
        permitted.id, new.seq, new.turn, new.call_index, new.kind, new.name, new.call_id, new.state, new.effect,
        new.key, new.attempt, new.attempts_max, false, new.replaces_seq, $3, $2, coalesce($6::timestamptz, now()),
        coalesce($6::timestamptz, now()),
        case when new.attempt > 0 then coalesce($6::timestamptz, now()) end,
        case when new.state in ('succeeded', 'failed', 'cancelled') then coalesce($6::timestamptz, now()) end,
        new.request_digest, new.request::json, new.result::json, new.error::json
    from permitted
    cross join unnest(
        $7::integer[], $8::integer[], $9::integer[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
        $15::text[], $16::integer[], $17::integer[], $18::integer[], $19::bytea[], $20::text[], $21::text[],
        $22::text[]
    ) as new (
        seq, turn, call_index, kind, name, call_id, state, effect, key, attempt, attempts_max, replaces_seq,
        request_digest, request, result, error)
), change as (
    select *
    from unnest(
        $23::integer[], $24::text[], $25::integer[], $26::integer[], $27::boolean[], $28::timestamptz[], $29::text[],
        $30::text[], $31::text[], $36::boolean[]
    ) as changed (seq, state, attempt, attempts_max, maybe_applied, due_at, result, error, evidence, fresh_budget)
), superseded as (
    insert into longhaul.attempt (
        run_id, step_seq, attempt, worker_id, fence, started_at, ended_at, error, evidence)
    select
        step.run_id, step.seq, step.attempt, step.worker_id, step.fence, step.attempt_started_at,
        step.attempt_ended_at, step.error, step.evidence
    from permitted
    join longhaul.step on step.run_id = permitted.id
    join change on change.seq = step.seq
    where change.attempt > step.attempt
      and step.attempt > 0
      and step.state not in ('succeeded', 'failed', 'cancelled')
), updated as (
    update longhaul.step
    set state              = change.state,
        attempt            = change.attempt,
        attempts_max       = change.attempts_max,
        maybe_applied      = change.maybe_applied,
        due_at             = change.due_at,
        budget_from        = case when change.fresh_budget then coalesce($6::timestamptz, now())
                                  else step.budget_from end,
        result             = change.result::json,
        error              = change.error::json,
        evidence           = change.evidence::json,
        worker_id          = case when change.attempt > step.attempt then $3 else step.worker_id end,
        fence              = $2,
        attempt_started_at = case when change.attempt > step.attempt then coalesce($6::timestamptz, now())
                                  else step.attempt_started_at end,
        attempt_ended_at   = case when change.attempt > step.attempt then null
                                  when change.evidence is not null then coalesce($6::timestamptz, now())
                                  else step.attempt_ended_at end,
        ended_at           = case when change.state in ('succeeded', 'failed', 'cancelled')
                                  then coalesce($6::timestamptz, now()) end
    from change
    cross join permitted
    where step.run_id = permitted.id
      and step.seq = change.seq
      and step.state not in ('succeeded', 'failed', 'cancelled')
), logged as (
    insert into longhaul.event (run_id, seq, kind, step_seq, worker_id, fence, at, data)
    select
        permitted.id, last.seq + fact.place, fact.kind, fact.step_seq, $3, $2, coalesce($6::timestamptz, now()),
        fact.data::json
    from permitted
    cross join last
    cross join unnest($32::integer[], $33::text[], $34::integer[], $35::text[])
        with ordinality as fact (seq, kind, step_seq, data, place)
), proven as (
    update longhaul.run
    set crashes = 0
    from permitted
    where run.id = permitted.id
      and $5
)
select
    exists (select from permitted) as recorded,
    holder.wakes,
    holder.cancel_requested_at is not null as cancel_requested,
    holder.paused_at is not null as paused
from holder
