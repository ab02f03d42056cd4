-- What record.sql does, for a batch in which no recorded step moves on and no run brings more than one new step and two
-- events: most batches of workflows. All that belongs to a run is one row, so that hardly anything but the writing is left.
with holder as materialized (
    select
        entry.*, held.id, held.wakes as woken, held.cancel_requested_at, held.cancel_requested_by, held.cancel_reason,
        held.paused_at,
        coalesce(entry.after <> 'waiting', false) as ends,
        case
            when held.id is null then false
            when entry.has_intent and (held.cancel_requested_at is not null or held.paused_at is not null) then false
            when entry.after = 'waiting' then held.wakes = entry.wakes and held.cancel_requested_at is null
            when entry.after is null then coalesce(held.wakes = entry.wakes, true)
            else (held.cancel_requested_at is not null) = (entry.after = 'cancelled')
        end as permitted
    from unnest(
        $1::uuid[], $2::bigint[], $3::uuid[], $4::boolean[], $5::boolean[], $6::text[], $7::text[], $8::text[],
        $9::timestamptz[], $10::bigint[], $11::integer[], $12::text[], $13::text[],
        $15::integer[], $16::integer[], $17::integer[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[],
        $23::text[], $24::text[], $25::integer[], $26::integer[], $27::boolean[], $28::timestamptz[], $29::integer[],
        $30::bytea[], $31::text[], $32::text[], $33::text[],
        $34::integer[], $35::text[], $36::integer[], $37::text[], $38::text[], $39::integer[], $40::text[]
    ) with ordinality as entry (
        run_id, fence, worker_id, has_intent, has_result, after, waiting_for, wait_reason, run_due_at, wakes, event_seq,
        run_result, run_error,
        seq, turn, call_index, identity, kind, name, call_id, state, effect, key, attempt, attempts_max, maybe_applied,
        due_at, replaces_seq, request_digest, request, result, error,
        first_seq, first_kind, first_step_seq, first_data, second_kind, second_step_seq, second_data,
        entry)
    left join lateral (
        select run.id, run.wakes, run.cancel_requested_at, run.cancel_requested_by, run.cancel_reason, run.paused_at
        from longhaul.run
        where run.id = entry.run_id
          and run.fence = entry.fence
          and run.state = 'running'
        for no key update skip locked
    ) as held on true
), begun as (
    insert into longhaul.step (
        run_id, seq, turn, call_index, identity, kind, name, call_id, state, effect, key, attempt, attempts_max,
        maybe_applied, due_at, replaces_seq, worker_id, fence, created_at, budget_from, attempt_started_at, ended_at,
        request_digest, request, result, error)
    select
        new.run_id, new.seq, new.turn, new.call_index, new.identity, new.kind, new.name, new.call_id, new.state,
        new.effect, new.key, new.attempt, new.attempts_max, coalesce(new.maybe_applied, false), new.due_at,
        new.replaces_seq, new.worker_id, new.fence,
        coalesce($14::timestamptz, now()), coalesce($14::timestamptz, now()),
        case when new.attempt > 0 then coalesce($14::timestamptz, now()) end,
        case when new.state in ('succeeded', 'failed', 'cancelled') then coalesce($14::timestamptz, now()) end,
        new.request_digest, new.request::json, new.result::json, new.error::json
    from holder as new
    where new.permitted
      and new.seq is not null
), logged as (
    insert into longhaul.event (run_id, seq, kind, step_seq, worker_id, fence, at, data)
    select
        holder.run_id, fact.seq, fact.kind, fact.step_seq, holder.worker_id, holder.fence,
        coalesce($14::timestamptz, now()),
        case fact.kind
            when 'run.cancelled'
                then json_build_object('by', holder.cancel_requested_by, 'reason', holder.cancel_reason)
            else fact.data::json
        end
    from holder
    cross join lateral (
        values (holder.first_seq, holder.first_kind, holder.first_step_seq, holder.first_data),
               (holder.first_seq + 1, holder.second_kind, holder.second_step_seq, holder.second_data)
    ) as fact (seq, kind, step_seq, data)
    where holder.permitted
      and fact.kind is not null
), moved as (
    update longhaul.run
    set state        = coalesce(holder.after, run.state),
        waiting_for  = holder.waiting_for,
        wait_reason  = holder.wait_reason,
        due_at       = holder.run_due_at,
        worker_id    = case when holder.after is null then run.worker_id end,
        crashes      = case when holder.has_result then 0 else run.crashes end,
        event_seq    = coalesce(holder.event_seq, run.event_seq),
        result       = case when holder.ends then holder.run_result::json else run.result end,
        error        = case when holder.ends then holder.run_error::json else run.error end,
        paused_at    = case when not holder.ends then run.paused_at end,
        paused_by    = case when not holder.ends then run.paused_by end,
        pause_reason = case when not holder.ends then run.pause_reason end,
        ended_at     = case when holder.ends then coalesce($14::timestamptz, now()) end
    from holder
    where run.id = holder.run_id
      and holder.permitted
      and (holder.after is not null or holder.has_result)
)
select
    holder.entry as "entry!",
    holder.permitted as "recorded!",
    holder.woken as "wakes!",
    holder.cancel_requested_at is not null as "cancel_requested!",
    holder.paused_at is not null as "paused!"
from holder
where holder.id is not null
