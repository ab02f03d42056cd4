-- Records what the holders of runs have done, or are about to do, for many runs in one statement: new steps (an intent is
-- a step in the state running), changed steps, past attempts, their events, and parkings and ends of runs. Each run stands
-- or falls by its own fence.
-- One row for each run that is held under the fence given and that nobody else has locked. recorded = false: nothing was
-- written for it, since an intent came after a cancel or a pause, or a parking, a decision or an end met a change.
with entry as (
    select *
    from unnest(
        $1::uuid[], $2::bigint[], $3::uuid[], $4::boolean[], $5::boolean[], $6::text[], $7::text[], $8::text[],
        $9::timestamptz[], $10::bigint[], $11::integer[], $12::text[], $13::text[]
    ) with ordinality as entry (
        run_id, fence, worker_id, has_intent, has_result, state, waiting_for, wait_reason, due_at, wakes, event_seq,
        result, error, entry)
), holder as (
    select
        run.id, run.wakes as woken, run.cancel_requested_at, run.cancel_requested_by, run.cancel_reason, run.paused_at,
        entry.*
    from entry
    join longhaul.run on run.id = entry.run_id
    where run.fence = entry.fence
      and run.state = 'running'
    order by run.id
    for no key update of run skip locked
), permitted as (
    select holder.*, coalesce(holder.state <> 'waiting', false) as ends
    from holder
    where case
              when holder.has_intent and (holder.cancel_requested_at is not null or holder.paused_at is not null)
                  then false
              when holder.state = 'waiting' then holder.woken = holder.wakes and holder.cancel_requested_at is null
              when holder.state is null then coalesce(holder.woken = holder.wakes, true)
              else (holder.cancel_requested_at is not null) = (holder.state = 'cancelled')
          end
), begun as (
    insert into longhaul.step (
        run_id, seq, turn, call_index, identity, kind, name, call_id, state, effect, key, attempt, attempts_max,
        maybe_applied, due_at, replaces_seq, worker_id, fence, created_at, budget_from, attempt_started_at, ended_at, request_digest, request, result,
        error)
    select
        permitted.id, new.seq, new.turn, new.call_index, new.identity, new.kind, new.name, new.call_id, new.state,
        new.effect, new.key, new.attempt, new.attempts_max, new.maybe_applied, new.due_at, new.replaces_seq, permitted.worker_id, permitted.fence,
        coalesce($14::timestamptz, now()), coalesce($14::timestamptz, now()),
        case when new.attempt > 0 then coalesce($14::timestamptz, now()) end,
        case when new.state in ('succeeded', 'failed', 'cancelled') then coalesce($14::timestamptz, now()) end,
        new.request_digest, new.request::json, new.result::json, new.error::json
    from unnest(
        $15::integer[], $16::integer[], $17::integer[], $18::integer[], $19::text[], $20::text[], $21::text[], $22::text[],
        $23::text[], $24::text[], $25::text[], $26::integer[], $27::integer[], $28::boolean[], $29::timestamptz[],
        $30::integer[], $31::bytea[], $32::text[], $33::text[], $34::text[]
    ) as new (
        entry, seq, turn, call_index, identity, kind, name, call_id, state, effect, key, attempt, attempts_max,
        maybe_applied, due_at, replaces_seq, request_digest, request, result, error)
    join permitted on permitted.entry = new.entry
), change as (
    select changed.*, permitted.id as run_id, permitted.worker_id, permitted.fence
    from unnest(
        $35::integer[], $36::integer[], $37::text[], $38::integer[], $39::integer[], $40::boolean[], $41::timestamptz[],
        $42::text[], $43::text[], $44::text[], $45::boolean[]
    ) as changed (
        entry, seq, state, attempt, attempts_max, maybe_applied, due_at, result, error, evidence, fresh_budget)
    join permitted on permitted.entry = changed.entry
), superseded as (
    insert into longhaul.attempt (
        run_id, step_seq, attempt, worker_id, fence, started_at, ended_at, error, evidence)
    select
        step.run_id, step.seq, step.attempt, step.worker_id, step.fence, step.attempt_started_at,
        step.attempt_ended_at, step.error, step.evidence
    from change
    join longhaul.step on step.run_id = change.run_id
                      and step.seq = change.seq
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
        budget_from        = case when change.fresh_budget then coalesce($14::timestamptz, now())
                                  else step.budget_from end,
        result             = change.result::json,
        error              = change.error::json,
        evidence           = change.evidence::json,
        worker_id          = case when change.attempt > step.attempt then change.worker_id else step.worker_id end,
        fence              = change.fence,
        attempt_started_at = case when change.attempt > step.attempt then coalesce($14::timestamptz, now())
                                  else step.attempt_started_at end,
        attempt_ended_at   = case when change.attempt > step.attempt then null
                                  when change.evidence is not null then coalesce($14::timestamptz, now())
                                  else step.attempt_ended_at end,
        ended_at           = case when change.state in ('succeeded', 'failed', 'cancelled')
                                  then coalesce($14::timestamptz, now()) end
    from change
    where step.run_id = change.run_id
      and step.seq = change.seq
      and step.state not in ('succeeded', 'failed', 'cancelled')
), logged as (
    insert into longhaul.event (run_id, seq, kind, step_seq, worker_id, fence, at, data)
    select
        permitted.id, fact.seq, fact.kind, fact.step_seq, permitted.worker_id, permitted.fence,
        coalesce($14::timestamptz, now()),
        case fact.kind
            when 'run.cancelled'
                then json_build_object('by', permitted.cancel_requested_by, 'reason', permitted.cancel_reason)
            else fact.data::json
        end
    from unnest($46::integer[], $47::integer[], $48::text[], $49::integer[], $50::text[])
        as fact (entry, seq, kind, step_seq, data)
    join permitted on permitted.entry = fact.entry
), moved as (
    update longhaul.run
    set state        = coalesce(permitted.state, run.state),
        waiting_for  = permitted.waiting_for,
        wait_reason  = permitted.wait_reason,
        due_at       = permitted.due_at,
        worker_id    = case when permitted.state is null then run.worker_id end,
        crashes      = case when permitted.has_result then 0 else run.crashes end,
        event_seq    = coalesce(permitted.event_seq, run.event_seq),
        result       = case when permitted.ends then permitted.result::json else run.result end,
        error        = case when permitted.ends then permitted.error::json else run.error end,
        paused_at    = case when not permitted.ends then run.paused_at end,
        paused_by    = case when not permitted.ends then run.paused_by end,
        pause_reason = case when not permitted.ends then run.pause_reason end,
        ended_at     = case when permitted.ends then coalesce($14::timestamptz, now()) end
    from permitted
    where run.id = permitted.id
      and (permitted.state is not null or permitted.has_result)
)
select
    holder.entry as "entry!",
    exists (select from permitted where permitted.entry = holder.entry) as "recorded!",
    holder.woken as "wakes!",
    holder.cancel_requested_at is not null as "cancel_requested!",
    holder.paused_at is not null as "paused!"
from holder
