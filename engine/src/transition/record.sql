-- Records what the holders of runs have done, or are about to do, for many runs in one statement: new steps (an intent is
-- a step in the state running), changed steps, past attempts, their events, and parkings and ends of runs. Each run stands
-- or falls by its own fence.
-- One row for each run that is held under the fence given and that nobody else has locked. recorded = false: nothing was
-- written for it, since an intent came after a cancel or a pause, or a parking, a decision or an end met a change.
-- Rows are found by key alone, one after the other, and what belongs to an entry by its place in an array: nothing is
-- joined, so no plan is bad. A column in which all are null may be empty.
with holder as materialized (
    select
        entry.*, held.id, held.wakes as woken, held.cancel_requested_at, held.cancel_requested_by, held.cancel_reason,
        held.paused_at,
        coalesce(entry.state <> 'waiting', false) as ends,
        case
            when held.id is null then false
            when entry.has_intent and (held.cancel_requested_at is not null or held.paused_at is not null) then false
            when entry.state = 'waiting' then held.wakes = entry.wakes and held.cancel_requested_at is null
            when entry.state is null then coalesce(held.wakes = entry.wakes, true)
            else (held.cancel_requested_at is not null) = (entry.state = 'cancelled')
        end as permitted
    from unnest(
        $1::uuid[], $2::bigint[], $3::uuid[], $4::boolean[], $5::boolean[], $6::text[], $7::text[], $8::text[],
        $9::timestamptz[], $10::bigint[], $11::integer[], $12::text[], $13::text[]
    ) with ordinality as entry (
        run_id, fence, worker_id, has_intent, has_result, state, waiting_for, wait_reason, due_at, wakes, event_seq,
        result, error, entry)
    left join lateral (
        select run.id, run.wakes, run.cancel_requested_at, run.cancel_requested_by, run.cancel_reason, run.paused_at
        from longhaul.run
        where run.id = entry.run_id
          and run.fence = entry.fence
          and run.state = 'running'
        for no key update skip locked
    ) as held on true
), verdict as materialized (
    select array_agg(holder.permitted order by holder.entry) as permitted
    from holder
), begun as (
    insert into longhaul.step (
        run_id, seq, turn, call_index, identity, kind, name, call_id, state, effect, key, attempt, attempts_max,
        maybe_applied, due_at, replaces_seq, worker_id, fence, created_at, budget_from, attempt_started_at, ended_at,
        request_digest, request, result, error)
    select
        ($1::uuid[])[new.entry], new.seq, new.turn, new.call_index, new.identity, new.kind, new.name, new.call_id,
        new.state, new.effect, new.key, new.attempt, new.attempts_max, coalesce(new.maybe_applied, false), new.due_at,
        new.replaces_seq, ($3::uuid[])[new.entry], ($2::bigint[])[new.entry],
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
    where (select verdict.permitted from verdict)[new.entry]
), superseded as (
    insert into longhaul.attempt (
        run_id, step_seq, attempt, worker_id, fence, started_at, ended_at, error, evidence)
    select
        step.run_id, step.seq, step.attempt, step.worker_id, step.fence, step.attempt_started_at,
        step.attempt_ended_at, step.error, step.evidence
    from unnest($35::integer[], $36::integer[], $38::integer[]) as change (entry, seq, attempt)
    join longhaul.step on step.run_id = ($1::uuid[])[change.entry]
                      and step.seq = change.seq
    where (select verdict.permitted from verdict)[change.entry]
      and change.attempt > 1
      and change.attempt > step.attempt
      and step.attempt > 0
      and step.state not in ('succeeded', 'failed', 'cancelled')
), updated as (
    update longhaul.step
    set state              = change.state,
        attempt            = change.attempt,
        attempts_max       = change.attempts_max,
        maybe_applied      = coalesce(change.maybe_applied, false),
        due_at             = change.due_at,
        budget_from        = case when change.fresh_budget then coalesce($14::timestamptz, now())
                                  else step.budget_from end,
        result             = change.result::json,
        error              = change.error::json,
        evidence           = change.evidence::json,
        worker_id          = case when change.attempt > step.attempt then ($3::uuid[])[change.entry]
                                  else step.worker_id end,
        fence              = ($2::bigint[])[change.entry],
        attempt_started_at = case when change.attempt > step.attempt then coalesce($14::timestamptz, now())
                                  else step.attempt_started_at end,
        attempt_ended_at   = case when change.attempt > step.attempt then null
                                  when change.evidence is not null then coalesce($14::timestamptz, now())
                                  else step.attempt_ended_at end,
        ended_at           = case when change.state in ('succeeded', 'failed', 'cancelled')
                                  then coalesce($14::timestamptz, now()) end
    from unnest(
        $35::integer[], $36::integer[], $37::text[], $38::integer[], $39::integer[], $40::boolean[], $41::timestamptz[],
        $42::text[], $43::text[], $44::text[], $45::boolean[]
    ) as change (
        entry, seq, state, attempt, attempts_max, maybe_applied, due_at, result, error, evidence, fresh_budget)
    where (select verdict.permitted from verdict)[change.entry]
      and step.run_id = ($1::uuid[])[change.entry]
      and step.seq = change.seq
      and step.state not in ('succeeded', 'failed', 'cancelled')
), logged as (
    insert into longhaul.event (run_id, seq, kind, step_seq, worker_id, fence, at, data)
    select
        ($1::uuid[])[fact.entry], fact.seq, fact.kind, fact.step_seq, ($3::uuid[])[fact.entry],
        ($2::bigint[])[fact.entry], coalesce($14::timestamptz, now()),
        case fact.kind
            when 'run.cancelled' then (
                select json_build_object('by', holder.cancel_requested_by, 'reason', holder.cancel_reason)
                from holder
                where holder.entry = fact.entry)
            else fact.data::json
        end
    from unnest($46::integer[], $47::integer[], $48::text[], $49::integer[], $50::text[])
        as fact (entry, seq, kind, step_seq, data)
    where (select verdict.permitted from verdict)[fact.entry]
), moved as (
    update longhaul.run
    set state        = coalesce(holder.state, run.state),
        waiting_for  = holder.waiting_for,
        wait_reason  = holder.wait_reason,
        due_at       = holder.due_at,
        worker_id    = case when holder.state is null then run.worker_id end,
        crashes      = case when holder.has_result then 0 else run.crashes end,
        event_seq    = coalesce(holder.event_seq, run.event_seq),
        result       = case when holder.ends then holder.result::json else run.result end,
        error        = case when holder.ends then holder.error::json else run.error end,
        paused_at    = case when not holder.ends then run.paused_at end,
        paused_by    = case when not holder.ends then run.paused_by end,
        pause_reason = case when not holder.ends then run.pause_reason end,
        ended_at     = case when holder.ends then coalesce($14::timestamptz, now()) end
    from holder
    where run.id = holder.run_id
      and holder.permitted
      and (holder.state is not null or holder.has_result)
)
select
    holder.entry as "entry!",
    holder.permitted as "recorded!",
    holder.woken as "wakes!",
    holder.cancel_requested_at is not null as "cancel_requested!",
    holder.paused_at is not null as "paused!"
from holder
where holder.id is not null
