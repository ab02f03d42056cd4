-- Records what the holders of runs have done, or are about to do, for many runs in one statement: new steps (an intent is
-- a step in the state running), changed steps, past attempts, their events, and parkings and ends of runs. Each run stands
-- or falls by its own fence.
-- One row for each run that is held under the fence given and that nobody else has locked. recorded = false: nothing was
-- written for it, since an intent came after a cancel or a pause, or a parking, a decision or an end met a change.
-- Columns are read by place where they are written, and rows found by key, one after the other: what is given is copied
-- nowhere, and nothing is joined, so no plan is bad. A column in which all are null may be empty. $51 and $52 are the
-- lowest and the highest run: other months are not looked into.
with holder as materialized (
    select
        entry, held.id, held.wakes as woken, held.cancel_requested_at, held.cancel_requested_by, held.cancel_reason,
        held.paused_at,
        case
            when held.id is null then false
            when given.has_intent and (held.cancel_requested_at is not null or held.paused_at is not null) then false
            when given.state = 'waiting' then held.wakes = given.wakes and held.cancel_requested_at is null
            when given.state is null then coalesce(held.wakes = given.wakes, true)
            else (held.cancel_requested_at is not null) = (given.state = 'cancelled')
        end as permitted
    from unnest($1::uuid[]) with ordinality as named (run_id, entry)
    cross join lateral (
        select
            ($4::boolean[])[entry] as has_intent, ($6::text[])[entry] as state, ($10::bigint[])[entry] as wakes
    ) as given
    left join lateral (
        select run.id, run.wakes, run.cancel_requested_at, run.cancel_requested_by, run.cancel_reason, run.paused_at
        from longhaul.run
        where run.id = named.run_id
          and run.id between $51::uuid and $52::uuid
          and run.fence = ($2::bigint[])[entry]
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
        ($1::uuid[])[begun.entry], ($16::integer[])[n], ($17::integer[])[n], ($18::integer[])[n], ($19::text[])[n],
        ($20::text[])[n], ($21::text[])[n], ($22::text[])[n], new.state, ($24::text[])[n], ($25::text[])[n],
        new.attempt, ($27::integer[])[n], coalesce(($28::boolean[])[n], false), ($29::timestamptz[])[n],
        ($30::integer[])[n], ($3::uuid[])[begun.entry], ($2::bigint[])[begun.entry], coalesce($14::timestamptz, now()),
        coalesce($14::timestamptz, now()), case when new.attempt > 0 then coalesce($14::timestamptz, now()) end,
        case when new.state in ('succeeded', 'failed', 'cancelled') then coalesce($14::timestamptz, now()) end,
        ($31::bytea[])[n], ($32::text[])[n]::json, ($33::text[])[n]::json, ($34::text[])[n]::json
    from unnest($15::integer[]) with ordinality as begun (entry, n)
    cross join lateral (
        select ($23::text[])[n] as state, ($26::integer[])[n] as attempt
    ) as new
    where (select verdict.permitted from verdict)[begun.entry]
), superseded as (
    insert into longhaul.attempt (
        run_id, step_seq, attempt, worker_id, fence, started_at, ended_at, error, evidence)
    select
        step.run_id, step.seq, step.attempt, step.worker_id, step.fence, step.attempt_started_at,
        step.attempt_ended_at, step.error, step.evidence
    from unnest($35::integer[]) with ordinality as changed (entry, n)
    cross join lateral (select ($36::integer[])[n] as seq, ($38::integer[])[n] as attempt) as change
    join longhaul.step on step.run_id = ($1::uuid[])[changed.entry]
                      and step.seq = change.seq
    where (select verdict.permitted from verdict)[changed.entry]
      and change.attempt > 1
      and change.attempt > step.attempt
      and step.attempt > 0
      and step.state not in ('succeeded', 'failed', 'cancelled')
), updated as (
    update longhaul.step
    set state              = change.state,
        attempt            = change.attempt,
        attempts_max       = ($39::integer[])[n],
        maybe_applied      = coalesce(($40::boolean[])[n], false),
        due_at             = ($41::timestamptz[])[n],
        budget_from        = case when ($45::boolean[])[n] then coalesce($14::timestamptz, now())
                                  else step.budget_from end,
        result             = ($42::text[])[n]::json,
        error              = ($43::text[])[n]::json,
        evidence           = case when change.attempt > step.attempt then change.evidence::json
                                  else coalesce(change.evidence::json, step.evidence) end,
        worker_id          = case when change.attempt > step.attempt then ($3::uuid[])[changed.entry]
                                  else step.worker_id end,
        fence              = ($2::bigint[])[changed.entry],
        attempt_started_at = case when change.attempt > step.attempt then coalesce($14::timestamptz, now())
                                  else step.attempt_started_at end,
        attempt_ended_at   = case when change.attempt > step.attempt then null
                                  when change.evidence is not null then coalesce($14::timestamptz, now())
                                  else step.attempt_ended_at end,
        ended_at           = case when change.state in ('succeeded', 'failed', 'cancelled')
                                  then coalesce($14::timestamptz, now()) end
    from unnest($35::integer[]) with ordinality as changed (entry, n)
    cross join lateral (
        select
            ($37::text[])[n] as state, ($38::integer[])[n] as attempt,
            ($44::text[])[n] as evidence
    ) as change
    where (select verdict.permitted from verdict)[changed.entry]
      and step.run_id = ($1::uuid[])[changed.entry]
      and step.seq = ($36::integer[])[n]
      and step.state not in ('succeeded', 'failed', 'cancelled')
), logged as (
    insert into longhaul.event (run_id, seq, kind, step_seq, worker_id, fence, at, data)
    select
        ($1::uuid[])[noted.entry], ($47::integer[])[n], fact.kind, ($49::integer[])[n], ($3::uuid[])[noted.entry],
        ($2::bigint[])[noted.entry], coalesce($14::timestamptz, now()),
        case fact.kind
            when 'run.cancelled' then (
                select json_build_object('by', holder.cancel_requested_by, 'reason', holder.cancel_reason)
                from holder
                where holder.entry = noted.entry)
            else ($50::text[])[n]::json
        end
    from unnest($46::integer[]) with ordinality as noted (entry, n)
    cross join lateral (select ($48::text[])[n] as kind) as fact
    where (select verdict.permitted from verdict)[noted.entry]
), moved as (
    update longhaul.run
    set state        = coalesce(given.state, run.state),
        waiting_for  = ($7::text[])[entry],
        wait_reason  = ($8::text[])[entry],
        due_at       = ($9::timestamptz[])[entry],
        worker_id    = case when given.state is null then run.worker_id end,
        crashes      = case when ($5::boolean[])[entry] then 0 else run.crashes end,
        event_seq    = coalesce(($11::integer[])[entry], run.event_seq),
        result       = case when given.ends then ($12::text[])[entry]::json else run.result end,
        error        = case when given.ends then ($13::text[])[entry]::json else run.error end,
        paused_at    = case when not given.ends then run.paused_at end,
        paused_by    = case when not given.ends then run.paused_by end,
        pause_reason = case when not given.ends then run.pause_reason end,
        ended_at     = case when given.ends then coalesce($14::timestamptz, now()) end
    from unnest($1::uuid[]) with ordinality as named (run_id, entry)
    cross join lateral (
        select
            ($6::text[])[entry] as state, coalesce(($6::text[])[entry] <> 'waiting', false) as ends
    ) as given
    where run.id = named.run_id
      and (select verdict.permitted from verdict)[entry]
      and (given.state is not null or ($5::boolean[])[entry])
)
select
    holder.entry as "entry!",
    holder.permitted as "recorded!",
    holder.woken as "wakes!",
    holder.cancel_requested_at is not null as "cancel_requested!",
    holder.paused_at is not null as "paused!"
from holder
where holder.id is not null
