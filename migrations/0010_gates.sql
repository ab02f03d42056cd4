-- What keeps calls back before they are sent: breakers, which spare a target that fails, and gates, which bound how many
-- calls of a tool are out at once and how many go out in a time. docs/breakers.md tells it to users.
--
-- A slot, and the trial call of a breaker, belong to a run and its fence: whose run has another one, or does not run, has
-- fallen free. Whoever finds one falling free calls the oldest waiters under the gate's lock, and wakes their runs in a
-- transaction after that: locks go from runs to gates to breakers. Where that second one is never made, or the run that
-- was called does not come, a worker's poll finds it by waiter.look_at.

-- A tool's limits, for one value of its key; the key's text is '' where there is none.
create table longhaul.gate (
    tenant       text        not null,
    scope        text        not null,
    key_digest   bytea       not null,
    key          text        not null,
    concurrency  integer,
    rate_calls   integer,
    rate_seconds integer,
    -- When the last calls, as many as the rate counts, were let out, oldest first.
    admitted_at  timestamptz[] not null default '{}',
    changed_at   timestamptz not null default now(),
    constraint gate_pkey primary key (tenant, scope, key_digest)
);

create index gate_idle_idx on longhaul.gate (changed_at);

-- A call that is out, where their number is bounded. Gone with its result.
create table longhaul.slot (
    run_id     uuid        not null,
    step_seq   integer     not null,
    fence      bigint      not null,
    tenant     text        not null,
    scope      text        not null,
    key_digest bytea       not null,
    taken_at   timestamptz not null,
    constraint slot_pkey primary key (run_id, step_seq)
);

create index slot_gate_idx on longhaul.slot (tenant, scope, key_digest);

-- A call that a gate keeps back, or, where key_digest is empty, one that a breaker does: until it may be tried, or until
-- its trial call has ended.
create table longhaul.waiter (
    run_id     uuid        not null,
    step_seq   integer     not null,
    tenant     text        not null,
    scope      text        not null,
    key_digest bytea       not null,
    since      timestamptz not null,
    -- It may come: there is a slot for it.
    called_at  timestamptz,
    -- It comes by itself at that time, when the rate allows it.
    due_at     timestamptz,
    look_at    timestamptz not null,
    constraint waiter_pkey primary key (run_id, step_seq)
);

create index waiter_gate_idx on longhaul.waiter (tenant, scope, key_digest, since);
create index waiter_look_idx on longhaul.waiter (look_at);

-- How long one that was called, or whose time has come, goes before others.
create function longhaul.gate_patience()
returns interval
language sql
immutable parallel safe
as $$ select interval '5 seconds' $$;

-- Whether what belongs to a run and fence still does.
create function longhaul.is_held(run_id uuid, fence bigint)
returns boolean
language sql
stable
as $$
    select exists (
        select from longhaul.run
        where run.id = is_held.run_id
          and run.fence = is_held.fence
          and run.state = 'running')
$$;

-- Locks a gate and has it hold what is now the tool's limit.
create function longhaul.lock_gate(
    tenant text, scope text, key text, concurrency integer, rate_calls integer, rate_seconds integer
)
returns void
language plpgsql
as $$
#variable_conflict use_variable
declare
    digest bytea := longhaul.digest(key);
    found_gate longhaul.gate;
begin
    loop
        select gate.* into found_gate from longhaul.gate
        where gate.tenant = lock_gate.tenant and gate.scope = lock_gate.scope and gate.key_digest = digest
        for update;
        exit when found;
        insert into longhaul.gate (tenant, scope, key_digest, key, concurrency, rate_calls, rate_seconds)
        values (tenant, scope, digest, left(key, 256), concurrency, rate_calls, rate_seconds)
        on conflict do nothing;
    end loop;
    if (found_gate.concurrency, found_gate.rate_calls, found_gate.rate_seconds)
        is distinct from (concurrency, rate_calls, rate_seconds) then
        update longhaul.gate
        set concurrency = lock_gate.concurrency, rate_calls = lock_gate.rate_calls, rate_seconds = lock_gate.rate_seconds
        where gate.tenant = lock_gate.tenant and gate.scope = lock_gate.scope and gate.key_digest = digest;
    end if;
end
$$;

-- When a rate lets out the next call but so many: so long after the one that came as many calls before it as the rate
-- counts. Where that one is itself among those ahead, so long after the one before that, and so on. Null: at once.
create function longhaul.rate_allows(admitted_at timestamptz[], calls integer, seconds integer, ahead integer)
returns timestamptz
language sql
immutable strict parallel safe
as $$
    select admitted_at[place - calls * rounds] + make_interval(secs => seconds) * (1 + rounds)
    from (
        select place, greatest(0, (place - cardinality(admitted_at) + calls - 1) / calls) as rounds
        from (select cardinality(admitted_at) + 1 - calls + ahead as place) as before
    ) as before
$$;

-- Lets waiters of a gate come, oldest first, as many as there are slots free; of a breaker, all once it is closed, and
-- those that have no time of their own once its trial call has ended. The
-- caller wakes the runs that it is answered with, when this is committed.
create function longhaul.call_waiters(tenant text, scope text, key_digest bytea, dead_hold boolean default false)
returns uuid[]
language plpgsql
as $$
#variable_conflict use_variable
declare
    at         timestamptz;
    guard      longhaul.breaker;
    found_gate longhaul.gate;
    free       integer;
    called     uuid[];
    trial_run_id   uuid;
    trial_step_seq integer;
begin
    if key_digest = '' then
        select breaker.* into guard from longhaul.breaker
        where breaker.tenant = call_waiters.tenant and breaker.scope = call_waiters.scope
        for update;
        if guard.state = 'half_open' and not longhaul.is_held(guard.trial_run_id, guard.trial_fence) then
            guard.state := 'open';
            guard.retry_at := clock_timestamp();
            trial_run_id := guard.trial_run_id;
            trial_step_seq := guard.trial_step_seq;
            guard.trial_run_id := null;
            guard.trial_fence := null;
            guard.trial_step_seq := null;
            perform longhaul.change_breaker(guard, 'trial_lost', trial_run_id, trial_step_seq, null, null);
        end if;
        free := case when guard.state = 'half_open' then 0 end;
    else
        select gate.* into found_gate from longhaul.gate
        where gate.tenant = call_waiters.tenant and gate.scope = call_waiters.scope
          and gate.key_digest = call_waiters.key_digest
        for update;
    end if;
    at := clock_timestamp();
    delete from longhaul.waiter
    where waiter.tenant = call_waiters.tenant and waiter.scope = call_waiters.scope
      and waiter.key_digest = call_waiters.key_digest
      and exists (select from longhaul.run where run.id = waiter.run_id and run.ended_at is not null);
    if found_gate.concurrency is not null then
        if not dead_hold then
            delete from longhaul.slot
            where slot.tenant = call_waiters.tenant and slot.scope = call_waiters.scope
              and slot.key_digest = call_waiters.key_digest
              and not longhaul.is_held(slot.run_id, slot.fence);
        end if;
        select found_gate.concurrency - count(*) into free from longhaul.slot
        where slot.tenant = call_waiters.tenant and slot.scope = call_waiters.scope
          and slot.key_digest = call_waiters.key_digest;
        select free - count(*) into free from longhaul.waiter
        where waiter.tenant = call_waiters.tenant and waiter.scope = call_waiters.scope
          and waiter.key_digest = call_waiters.key_digest
          and waiter.called_at > at - longhaul.gate_patience();
    end if;
    with next as (
        select waiter.run_id, waiter.step_seq
        from longhaul.waiter
        join longhaul.run on run.id = waiter.run_id
        where waiter.tenant = call_waiters.tenant and waiter.scope = call_waiters.scope
          and waiter.key_digest = call_waiters.key_digest
          and (waiter.called_at is null or waiter.called_at <= at - longhaul.gate_patience())
          and (waiter.due_at is null or waiter.due_at <= at - longhaul.gate_patience() or guard.state = 'closed')
          and run.paused_at is null
        order by waiter.called_at nulls first, waiter.since, waiter.run_id, waiter.step_seq
        limit case when free is not null then greatest(free, 0) end
    ), told as (
        update longhaul.waiter
        set called_at = at, look_at = at + longhaul.gate_patience()
        from next
        where waiter.run_id = next.run_id and waiter.step_seq = next.step_seq
        returning waiter.run_id
    )
    select coalesce(array_agg(distinct told.run_id), '{}') into called from told;
    update longhaul.waiter
    set look_at = at + longhaul.gate_patience()
    where waiter.tenant = call_waiters.tenant and waiter.scope = call_waiters.scope
      and waiter.key_digest = call_waiters.key_digest
      and waiter.look_at <= at;
    return called;
end
$$;

-- Puts the runs of called waiters back into their queues, and tells the holders of those that run. Where it may not wait
-- it passes over rows that somebody else has just now: they are called again before long.
create function longhaul.wake_called(run_ids uuid[], may_wait boolean default true, notify boolean default true)
returns void
language plpgsql
as $$
#variable_conflict use_variable
declare
    woken_id  uuid;
    found_run longhaul.run;
    returns   boolean;
begin
    for woken_id in select distinct id from unnest(run_ids) as called (id) order by id loop
        if may_wait then
            select run.* into found_run from longhaul.run where run.id = woken_id for no key update;
        else
            select run.* into found_run from longhaul.run where run.id = woken_id for no key update skip locked;
        end if;
        continue when not found or found_run.ended_at is not null;
        -- One that waits to be let go on as a whole waits on.
        returns := found_run.state = 'waiting' and not exists (
            select from longhaul.approval
            where approval.run_id = woken_id
              and approval.state = 'open'
              and approval.step_seq is null);
        update longhaul.run
        set wakes       = run.wakes + 1,
            state       = case when returns then 'queued' else run.state end,
            waiting_for = case when returns then null else run.waiting_for end,
            wait_reason = case when returns then null else run.wait_reason end,
            due_at      = case when returns then now() else run.due_at end,
            event_seq   = run.event_seq + returns::integer
        where run.id = woken_id;
        if returns then
            insert into longhaul.event (run_id, seq, kind, fence, data)
            values (woken_id, found_run.event_seq + 1, 'run.woken', found_run.fence, json_build_object('by', 'gate'));
        end if;
        if notify and returns then
            perform pg_notify('longhaul_due', found_run.queue);
            perform pg_notify('longhaul_event', woken_id::text);
        elsif notify and found_run.state = 'running' then
            perform pg_notify('longhaul_changed', found_run.worker_id::text);
        end if;
    end loop;
end
$$;

-- Decides which of a turn's calls may go out now, for the holder of their run, before their intents: breakers first, then
-- slots and rates. One object for each call:
--   admitted   with the breaker's generation and failures, which its outcome is reported under
--   open       the breaker is open until the instant given
--   trial      the breaker's trial call is out; one that waits is called when that is over
--   slot       all slots are taken; it is called when there is one
--   rate       the rate lets it out at the instant given
-- Null: the run has moved on. A call that already has a slot or the trial, whose answer was lost, keeps it.
create function longhaul.admit_calls(run_id uuid, fence bigint, calls json, dead_hold boolean default false)
returns json
language plpgsql
as $$
#variable_conflict use_variable
declare
    whose      text;
    call       record;
    guard      longhaul.breaker;
    admitted   timestamptz[];
    digest     bytea;
    at         timestamptz;
    waited     timestamptz;
    ahead      integer;
    held       integer;
    pass    text;
    due        timestamptz;
    wants_trial boolean;
    answers    json[] := '{}';
begin
    select run.tenant into whose from longhaul.run
    where run.id = admit_calls.run_id and run.fence = admit_calls.fence and run.state = 'running';
    if not found then
        return null;
    end if;
    for call in
        select distinct on (given.scope, longhaul.digest(given.key)) given.*
        from json_to_recordset(calls) as given (
            scope text, key text, concurrency integer, rate_calls integer, rate_seconds integer)
        where given.concurrency is not null or given.rate_calls is not null
        order by given.scope, longhaul.digest(given.key)
    loop
        perform longhaul.lock_gate(whose, call.scope, call.key, call.concurrency, call.rate_calls, call.rate_seconds);
    end loop;

    for call in
        select given.*
        from json_to_recordset(calls) as given (
            step_seq integer, scope text, failures_max integer, waits boolean, key text, concurrency integer,
            rate_calls integer, rate_seconds integer)
        order by given.scope, given.step_seq
    loop
        at := clock_timestamp();
        pass := 'admitted';
        due := null;
        wants_trial := false;
        digest := longhaul.digest(call.key);
        guard := null;
        if call.failures_max is not null then
            select breaker.* into guard from longhaul.breaker
            where breaker.tenant = whose and breaker.scope = call.scope;
            if guard.state = 'half_open' or guard.retry_at <= at then
                select breaker.* into guard from longhaul.breaker
                where breaker.tenant = whose and breaker.scope = call.scope
                for update;
                at := clock_timestamp();
            end if;
            if guard.retry_at > at then
                pass := 'open';
                due := guard.retry_at;
                digest := '';
            elsif guard.state = 'half_open' and longhaul.is_held(guard.trial_run_id, guard.trial_fence)
                and (guard.trial_run_id, guard.trial_step_seq) is distinct from (run_id, call.step_seq) then
                pass := 'trial';
                digest := '';
            else
                wants_trial := coalesce(guard.state <> 'closed', false);
            end if;
        end if;

        select waiter.since into waited from longhaul.waiter
        where waiter.run_id = admit_calls.run_id and waiter.step_seq = call.step_seq
          and waiter.tenant = whose and waiter.scope = call.scope and waiter.key_digest = digest;
        if pass = 'admitted' and (call.concurrency is not null or call.rate_calls is not null) then
            select count(*) into ahead
            from longhaul.waiter
            join longhaul.run on run.id = waiter.run_id
            where waiter.tenant = whose and waiter.scope = call.scope and waiter.key_digest = digest
              and (waiter.since, waiter.run_id, waiter.step_seq) < (coalesce(waited, at), admit_calls.run_id, call.step_seq)
              and (waiter.run_id, waiter.step_seq) <> (admit_calls.run_id, call.step_seq)
              and coalesce(waiter.called_at, waiter.due_at, 'infinity') > at - longhaul.gate_patience()
              and run.ended_at is null
              and run.paused_at is null;
            if call.concurrency is not null then
                if not dead_hold then
                    delete from longhaul.slot
                    where slot.tenant = whose and slot.scope = call.scope and slot.key_digest = digest
                      and not longhaul.is_held(slot.run_id, slot.fence);
                end if;
                select count(*) into held from longhaul.slot
                where slot.tenant = whose and slot.scope = call.scope and slot.key_digest = digest
                  and (slot.run_id, slot.step_seq) <> (admit_calls.run_id, call.step_seq);
                if held + ahead >= call.concurrency then
                    pass := 'slot';
                end if;
            end if;
            if pass = 'admitted' and call.rate_calls is not null then
                select gate.admitted_at into admitted from longhaul.gate
                where gate.tenant = whose and gate.scope = call.scope and gate.key_digest = digest;
                due := longhaul.rate_allows(admitted, call.rate_calls, call.rate_seconds, ahead);
                if due > at then
                    pass := 'rate';
                else
                    due := null;
                end if;
            end if;
        end if;

        if pass in ('slot', 'rate') or (pass in ('open', 'trial') and call.waits) then
            insert into longhaul.waiter (run_id, step_seq, tenant, scope, key_digest, since, due_at, look_at)
            values (
                run_id, call.step_seq, whose, call.scope, digest, coalesce(waited, at), due,
                coalesce(due, at) + longhaul.gate_patience())
            on conflict on constraint waiter_pkey do update
            set tenant     = excluded.tenant,
                scope      = excluded.scope,
                key_digest = excluded.key_digest,
                since      = excluded.since,
                called_at  = null,
                due_at     = excluded.due_at,
                look_at    = excluded.look_at;
        else
            delete from longhaul.waiter
            where waiter.run_id = admit_calls.run_id and waiter.step_seq = call.step_seq;
        end if;
        if pass = 'admitted' and call.concurrency is not null then
            insert into longhaul.slot (run_id, step_seq, fence, tenant, scope, key_digest, taken_at)
            values (run_id, call.step_seq, fence, whose, call.scope, digest, at)
            on conflict on constraint slot_pkey do update
            set fence = excluded.fence, tenant = excluded.tenant, scope = excluded.scope,
                key_digest = excluded.key_digest, taken_at = excluded.taken_at;
        end if;
        if pass = 'admitted' and (call.concurrency is not null or call.rate_calls is not null) then
            update longhaul.gate
            set admitted_at = case
                    when call.rate_calls is null then '{}'
                    else (gate.admitted_at || at)[greatest(1, cardinality(gate.admitted_at) + 2 - call.rate_calls):] end,
                changed_at  = at
            where gate.tenant = whose and gate.scope = call.scope and gate.key_digest = digest
              and (call.rate_calls is not null or gate.changed_at < at - interval '1 hour');
        end if;
        if pass = 'admitted' and wants_trial and guard.state = 'half_open'
            and (guard.trial_run_id, guard.trial_fence, guard.trial_step_seq) = (run_id, fence, call.step_seq) then
            null;
        elsif pass = 'admitted' and wants_trial then
            guard.state := 'half_open';
            guard.retry_at := null;
            guard.trial_run_id := run_id;
            guard.trial_fence := fence;
            guard.trial_step_seq := call.step_seq;
            perform longhaul.change_breaker(guard, 'trial', run_id, call.step_seq, null, null);
            guard.generation := guard.generation + 1;
        end if;
        answers := array_append(answers, json_build_object(
            'step_seq', call.step_seq, 'pass', pass, 'until', due, 'at', at, 'has_waited', waited is not null,
            'generation', coalesce(guard.generation, 0), 'failures', coalesce(guard.failures, 0),
            'is_trial', wants_trial, 'error_code', guard.error_code));
    end loop;
    return array_to_json(answers);
end
$$;

-- What became of calls that were let out, told by the holder of their run once their results are recorded: slots fall free,
-- breakers count. Answers with the runs that wake_called is to wake, in a transaction after this one.
create function longhaul.report_calls(run_id uuid, fence bigint, reports json, dead_hold boolean default false)
returns uuid[]
language plpgsql
as $$
#variable_conflict use_variable
declare
    whose  text;
    report record;
    digest bytea;
    called uuid[] := '{}';
begin
    select run.tenant into whose from longhaul.run where run.id = report_calls.run_id;
    for report in
        select given.*
        from json_to_recordset(reports) as given (step_seq integer, scope text, key text)
        where given.key is not null
        order by given.scope, longhaul.digest(given.key), given.step_seq
    loop
        digest := longhaul.digest(report.key);
        perform from longhaul.gate
        where gate.tenant = whose and gate.scope = report.scope and gate.key_digest = digest
        for update;
        delete from longhaul.slot
        where slot.run_id = report_calls.run_id and slot.step_seq = report.step_seq and slot.fence = report_calls.fence;
        if exists (
            select from longhaul.waiter
            where waiter.tenant = whose and waiter.scope = report.scope and waiter.key_digest = digest
        ) then
            called := called || longhaul.call_waiters(whose, report.scope, digest, dead_hold);
        end if;
    end loop;
    for report in
        select given.*
        from json_to_recordset(reports) as given (
            step_seq integer, scope text, generation bigint, outcome text, error_code text, failures_max integer,
            cooldown_seconds integer)
        where given.generation is not null
        order by given.scope, given.step_seq
    loop
        called := called || longhaul.note_outcome(whose, report.scope, report.generation, report.outcome,
            report.error_code, report.failures_max, report.cooldown_seconds, run_id, report.step_seq);
    end loop;
    return called;
end
$$;

-- Lets go what runs held that were just taken back from a dead worker. The caller holds their locks. Answers with the runs
-- that wake_called is to wake.
create function longhaul.free_slots(run_ids uuid[])
returns uuid[]
language plpgsql
as $$
#variable_conflict use_variable
declare
    freed  record;
    called uuid[] := '{}';
begin
    for freed in
        select distinct slot.tenant, slot.scope, slot.key_digest
        from unnest(run_ids) as taken (id)
        join longhaul.slot on slot.run_id = taken.id
        order by slot.tenant, slot.scope, slot.key_digest
    loop
        called := called || longhaul.call_waiters(freed.tenant, freed.scope, freed.key_digest);
    end loop;
    for freed in
        select breaker.tenant, breaker.scope
        from unnest(run_ids) as taken (id)
        join longhaul.breaker on breaker.trial_run_id = taken.id
        order by breaker.tenant, breaker.scope
    loop
        called := called || longhaul.call_waiters(freed.tenant, freed.scope, '');
    end loop;
    return called;
end
$$;

-- Calls waiters that nobody has called although they may come, or that were called and have not come, and forgets gates that
-- nobody has passed for a day. Answers with the runs that wake_called is to wake.
create function longhaul.tend_gates(most integer default 100, dead_hold boolean default false)
returns uuid[]
language plpgsql
as $$
#variable_conflict use_variable
declare
    stale  record;
    called uuid[] := '{}';
begin
    for stale in
        select waiter.tenant, waiter.scope, waiter.key_digest
        from (
            select waiter.* from longhaul.waiter where waiter.look_at <= now() order by waiter.look_at limit most
        ) as waiter
        group by waiter.tenant, waiter.scope, waiter.key_digest
        order by waiter.tenant, waiter.key_digest = '', waiter.scope, waiter.key_digest
    loop
        called := called || longhaul.call_waiters(stale.tenant, stale.scope, stale.key_digest, dead_hold);
    end loop;
    delete from longhaul.gate
    where (gate.tenant, gate.scope, gate.key_digest) in (
        select idle.tenant, idle.scope, idle.key_digest
        from longhaul.gate as idle
        where idle.changed_at < now() - interval '1 day'
          and idle.changed_at < now() - make_interval(secs => coalesce(idle.rate_seconds, 0))
          and not exists (
              select from longhaul.slot
              where slot.tenant = idle.tenant and slot.scope = idle.scope and slot.key_digest = idle.key_digest)
          and not exists (
              select from longhaul.waiter
              where waiter.tenant = idle.tenant and waiter.scope = idle.scope and waiter.key_digest = idle.key_digest)
        order by idle.changed_at
        limit most
        for update skip locked);
    return called;
end
$$;

-- Breakers, as they are. One that never had a failure has no row.
create view longhaul_audit.breaker as
select
    breaker.tenant, breaker.scope, breaker.state, breaker.generation, breaker.failures, breaker.failures_max,
    breaker.cooldown_seconds, breaker.changed_at, breaker.error_code, breaker.retry_at,
    breaker.trial_run_id, breaker.trial_step_seq, (
        select count(*) from longhaul.waiter
        where waiter.tenant = breaker.tenant and waiter.scope = breaker.scope and waiter.key_digest = '') as waiting
from longhaul.breaker;

-- Each change of a breaker's state, and what made it.
create view longhaul_audit.breaker_change as
select
    breaker_change.tenant, breaker_change.scope, breaker_change.generation, breaker_change.at, breaker_change.state,
    breaker_change.why, breaker_change.run_id, breaker_change.step_seq, breaker_change.error_code, breaker_change.actor,
    breaker_change.reason, breaker_change.retry_at
from longhaul.breaker_change;

-- Limits that calls have come to, by their keys' values: how many calls are out, and how many wait.
create view longhaul_audit.gate as
select
    gate.tenant, gate.scope, gate.key, gate.concurrency, gate.rate_calls, gate.rate_seconds, (
        select count(*) from longhaul.slot
        where slot.tenant = gate.tenant and slot.scope = gate.scope and slot.key_digest = gate.key_digest
          and longhaul.is_held(slot.run_id, slot.fence)) as running, (
        select count(*) from longhaul.waiter
        where waiter.tenant = gate.tenant and waiter.scope = gate.scope
          and waiter.key_digest = gate.key_digest) as waiting, (
        select count(*) from unnest(gate.admitted_at) as admitted (at)
        where admitted.at > now() - make_interval(secs => gate.rate_seconds)) as in_window,
    gate.changed_at
from longhaul.gate;
