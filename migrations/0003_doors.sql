-- The functions that applications call, inside their own transactions if they like. The Rust, HTTP and command line
-- doors call these same functions. Refusals: SQLSTATE LH4nn, a stable code as the constraint name, docs/errors/.

-- Starts a run. The same key with the same agent and input gives the same run; with others it is refused.
create function longhaul.start_run(
    agent           text        default null,
    input           json        default '{}',
    kind            text        default 'agent',
    queue           text        default 'default',
    priority        integer     default 100,
    due_at          timestamptz default null,
    deadline_at     timestamptz default null,
    requester       text        default null,
    tenant          text        default 'default',
    labels          jsonb       default '{}',
    idempotency_key text        default null,
    history         json        default null,
    notify          boolean     default true,
    out run_id      uuid,
    out created     boolean
)
language plpgsql
as $$
#variable_conflict use_variable
declare
    version      longhaul.agent_version;
    new_input    json := longhaul.admit('input', coalesce(input, 'null'), 1048576);
    new_history  json := longhaul.admit('history', history, 16777216);
    earlier      record;
begin
    kind := coalesce(kind, 'agent');
    priority := coalesce(priority, 100);
    labels := coalesce(labels, '{}');
    if kind !~ '^[a-z0-9][a-z0-9-]{0,62}$' then
        perform longhaul.refuse('LH422', 'invalid_kind', format('%L is not the name of a kind', kind),
            'agent, or the name of a workflow: 1 to 63 lower-case letters, digits and hyphens');
    end if;
    if kind = 'agent' and agent is null then
        perform longhaul.refuse('LH422', 'agent_missing', 'a run of the kind agent names its agent');
    end if;
    if kind <> 'agent' and (agent is not null or history is not null) then
        perform longhaul.refuse('LH422', 'not_an_agent', format('a run of the kind %L has no agent and no history', kind));
    end if;
    if jsonb_typeof(labels) <> 'object' or octet_length(labels::text) > 8192 or exists (
        select from jsonb_each(labels) as label where jsonb_typeof(label.value) <> 'string'
    ) then
        perform longhaul.refuse('LH422', 'invalid_labels', 'labels are an object of strings within 8 KiB');
    end if;
    if new_history is not null and json_typeof(new_history) <> 'array' then
        perform longhaul.refuse('LH422', 'invalid_history', 'an earlier conversation is an array of messages');
    end if;
    if exists (
        select from json_array_elements(new_history) as entry (message)
        where coalesce(json_typeof(message) <> 'object', true)
           or coalesce(message ->> 'role' not in ('user', 'assistant'), true)
           or coalesce(json_typeof(message -> 'content') not in ('string', 'array'), true)
    ) then
        perform longhaul.refuse('LH422', 'invalid_history',
            'each message of an earlier conversation is {role, content}: a role of user or assistant, and text or blocks');
    end if;
    if coalesce(queue, '') = '' or octet_length(queue) > 255 or coalesce(tenant, '') = '' or octet_length(tenant) > 255
        or octet_length(requester) not between 1 and 255 then
        perform longhaul.refuse('LH422', 'invalid_name', 'queue, tenant and requester have 1 to 255 bytes');
    end if;
    if priority not between 0 and 1000 then
        perform longhaul.refuse('LH422', 'invalid_priority', 'a priority is 0 (first) to 1000 (last)');
    end if;
    if not (isfinite(coalesce(due_at, now())) and isfinite(coalesce(deadline_at, now())))
        or extract(year from due_at) not between 2000 and 9999
        or extract(year from deadline_at) not between 2000 and 9999 then
        perform longhaul.refuse('LH422', 'invalid_time', 'a time lies between the years 2000 and 9999');
    end if;
    if octet_length(idempotency_key) not between 1 and 255 then
        perform longhaul.refuse('LH422', 'invalid_key', 'an idempotency key has 1 to 255 bytes');
    end if;

    run_id := longhaul.new_run_id();
    if idempotency_key is not null then
        insert into longhaul.run_key (tenant, key_digest, run_id)
        values (tenant, longhaul.digest(idempotency_key), run_id)
        on conflict do nothing;
        if not found then
            select run.id, run.kind, run.agent, run.input, run.history
            into earlier
            from longhaul.run_key
            join longhaul.run on run.id = run_key.run_id
            where run_key.tenant = start_run.tenant
              and run_key.key_digest = longhaul.digest(idempotency_key);
            if earlier.kind <> kind or earlier.agent is distinct from agent or earlier.input::jsonb <> new_input::jsonb
                or earlier.history::jsonb is distinct from new_history::jsonb then
                perform longhaul.refuse('LH409', 'key_reused',
                    format('key %L started run %s with another agent or input', idempotency_key, earlier.id),
                    'use a new key for a new run');
            end if;
            run_id := earlier.id;
            created := false;
            return;
        end if;
    end if;

    -- Not before the key was looked up: asking again after the deadline still finds the run.
    if deadline_at <= coalesce(due_at, now()) then
        perform longhaul.refuse('LH409', 'invalid_deadline', 'the deadline is over before the run is due');
    end if;

    select agent_version.*
    into version
    from longhaul.agent
    join longhaul.agent_version on agent_version.id = agent.version_id
    where agent.tenant = start_run.tenant
      and agent.name = start_run.agent;
    if not found and kind = 'agent' then
        perform longhaul.refuse('LH404', 'no_such_agent', format('agent %L does not exist in tenant %L', agent, tenant),
            'apply it first: longhaul agent apply FILE');
    end if;

    insert into longhaul.run (
        id, tenant, requester, labels, kind, agent, agent_version_id, functions, queue, priority, state, due_at,
        deadline_at, event_seq, input, history)
    values (
        run_id, tenant, coalesce(requester, session_user), labels, kind, agent, version.id,
        coalesce(version.functions, '{}'), queue,
        priority::smallint, 'queued', coalesce(due_at, now()),
        least(deadline_at, coalesce(due_at, now())
            + make_interval(secs => (version.definition -> 'limits' ->> 'wall_clock_seconds')::double precision)),
        1, new_input, new_history);
    insert into longhaul.event (run_id, seq, kind, fence, data)
    values (run_id, 1, 'run.started', 0, json_build_object(
        'kind', kind, 'agent', agent, 'version', version.version, 'requester', coalesce(requester, session_user), 'queue', queue,
        'nul_replaced', coalesce(input, 'null')::text <> new_input::text));
    created := true;
    if notify then
        perform pg_notify('longhaul_due', queue);
        perform pg_notify('longhaul_event', run_id::text);
    end if;
end
$$;

-- Starts many runs or none. Each of `runs` is an object with the names of start_run's arguments, but for the payloads:
-- these stand beside it, in the same order. A refusal names the item, counted from 0, as its detail.
create function longhaul.start_runs(
    runs      json,
    inputs    json[],
    histories json[]  default '{}',
    tenant    text    default 'default',
    notify    boolean default true
)
returns table (item integer, run_id uuid, created boolean)
language plpgsql
as $$
#variable_conflict use_variable
declare
    wanted       record;
    queues       text[] := '{}';
    refused      text;
    refused_code text;
    refused_hint text;
    sentence     text;
begin
    if json_typeof(runs) is distinct from 'array' then
        perform longhaul.refuse('LH422', 'invalid_runs', 'the runs are an array of objects');
    end if;
    if json_array_length(runs) <> coalesce(array_length(inputs, 1), 0) then
        perform longhaul.refuse('LH422', 'invalid_runs', format('there are %s runs and %s inputs',
            json_array_length(runs), coalesce(array_length(inputs, 1), 0)));
    end if;
    for item, sentence in
        select entry.place - 1, coalesce(named.name, json_typeof(entry.run))
        from json_array_elements(runs) with ordinality as entry (run, place)
        left join lateral json_object_keys(case json_typeof(entry.run) when 'object' then entry.run end)
            as named (name) on true
        where json_typeof(entry.run) <> 'object'
           or named.name not in ('kind', 'agent', 'queue', 'priority', 'due_at', 'deadline_at', 'requester', 'labels',
                'idempotency_key')
        limit 1
    loop
        perform longhaul.refuse('LH422', 'invalid_runs', format('a run has no field %L', sentence));
    end loop;
    -- By key: two batches with the same keys wait for each other and do not deadlock.
    for wanted in
        select given.*
        from rows from (json_to_recordset(runs) as (
            kind text, agent text, queue text, priority integer, due_at timestamptz, deadline_at timestamptz,
            requester text, labels jsonb, idempotency_key text
        )) with ordinality as given (
            kind, agent, queue, priority, due_at, deadline_at, requester, labels, idempotency_key, place)
        order by given.idempotency_key, given.place
    loop
        item := wanted.place - 1;
        select started.run_id, started.created
        into run_id, created
        from longhaul.start_run(
            agent           => wanted.agent,
            input           => coalesce(inputs[wanted.place], '{}'),
            kind            => coalesce(wanted.kind, 'agent'),
            queue           => coalesce(wanted.queue, 'default'),
            priority        => coalesce(wanted.priority, 100),
            due_at          => wanted.due_at,
            deadline_at     => wanted.deadline_at,
            requester       => wanted.requester,
            tenant          => tenant,
            labels          => coalesce(wanted.labels, '{}'),
            idempotency_key => wanted.idempotency_key,
            history         => histories[wanted.place],
            notify          => false
        ) as started;
        if created and coalesce(wanted.queue, 'default') <> all (queues) then
            queues := queues || coalesce(wanted.queue, 'default');
        end if;
        return next;
    end loop;
    if notify then
        perform pg_notify('longhaul_due', named.queue) from unnest(queues) as named (queue);
    end if;
exception when others then
    get stacked diagnostics
        refused = returned_sqlstate, refused_code = constraint_name, refused_hint = pg_exception_hint,
        sentence = message_text;
    -- A value of the wrong type has no code of ours.
    if refused like '22%' then
        refused := 'LH422';
        refused_code := 'invalid_runs';
    end if;
    raise exception using
        errcode = refused, constraint = coalesce(refused_code, ''), message = sentence,
        hint = coalesce(refused_hint, ''), detail = coalesce(item::text, '');
end
$$;

-- Ends a run that nobody holds at once; asks the holder of a running one. Answers with the state that it left:
-- 'cancelled', or 'running' where the holder still has to end it. Asking twice changes nothing. The children that are to
-- end with it are cancelled at once, and theirs, unless `children` says otherwise.
create function longhaul.cancel_run(
    run_id   uuid,
    reason   text    default null,
    actor    text    default null,
    notify   boolean default true,
    children boolean default true
)
returns text
language plpgsql
as $$
#variable_conflict use_variable
declare
    found_run longhaul.run;
    last_seq  integer;
begin
    -- A child's end is told to its parent, whose row is locked first.
    perform from longhaul.run
    where run.id = (select child.parent_id from longhaul.run as child where child.id = cancel_run.run_id)
    for no key update;
    select run.* into found_run from longhaul.run where run.id = cancel_run.run_id for no key update;
    if not found then
        perform longhaul.refuse('LH404', 'no_such_run', format('run %s does not exist', run_id));
    end if;
    if found_run.state = 'cancelled' then
        return 'cancelled';
    end if;
    if found_run.ended_at is not null then
        perform longhaul.refuse('LH409', 'run_has_ended', format('run %s has already %s', run_id, found_run.state));
    end if;
    if found_run.state = 'running' then
        if found_run.cancel_requested_at is null then
            insert into longhaul.request (run_id, wake, kind, actor, reason)
            values (run_id, found_run.wakes + 1, 'cancel', coalesce(actor, session_user), reason);
            update longhaul.run
            set cancel_requested_at = now(),
                cancel_requested_by = coalesce(actor, session_user),
                cancel_reason       = reason,
                spares_children     = not children,
                wakes               = run.wakes + 1
            where run.id = cancel_run.run_id;
        end if;
        if children then
            perform longhaul.cancel_children(run_id, reason, actor, notify);
        end if;
        if notify then
            perform pg_notify('longhaul_changed', found_run.worker_id::text);
        end if;
        return 'running';
    end if;

    insert into longhaul.request (run_id, wake, kind, actor, reason)
    values (run_id, found_run.wakes + 1, 'cancel', coalesce(actor, session_user), reason);

    -- A call that went out and was not answered keeps its honest end: unknown, unless repeating it changes nothing.
    with ended as (
        update longhaul.step
        set state    = case when step.effect in ('idempotent', 'at_most_once') and (step.state = 'running' or step.maybe_applied)
                            then 'unknown' else 'cancelled' end,
            maybe_applied = step.maybe_applied or step.state = 'running',
            due_at   = null,
            ended_at = case when step.effect in ('idempotent', 'at_most_once') and (step.state = 'running' or step.maybe_applied)
                            then null else now() end
        where step.run_id = cancel_run.run_id
          and step.state in ('waiting', 'running')
        returning step.seq, step.state
    ), logged as (
        insert into longhaul.event (run_id, seq, kind, step_seq, fence)
        select cancel_run.run_id, found_run.event_seq + row_number() over (order by ended.seq),
            'step.' || ended.state, ended.seq, found_run.fence
        from ended
        returning event.seq
    )
    select coalesce(max(logged.seq), found_run.event_seq) into last_seq from logged;

    insert into longhaul.event (run_id, seq, kind, fence, data)
    values (run_id, last_seq + 1, 'run.cancelled', found_run.fence,
        json_build_object('by', coalesce(actor, session_user), 'reason', reason));
    update longhaul.run
    set state               = 'cancelled',
        waiting_for         = null,
        wait_reason         = null,
        due_at              = null,
        ended_at            = now(),
        event_seq           = last_seq + 1,
        wakes               = run.wakes + 1,
        paused_at           = null,
        paused_by           = null,
        pause_reason        = null,
        cancel_requested_at = now(),
        cancel_requested_by = coalesce(actor, session_user),
        cancel_reason       = reason,
        spares_children     = not children
    where run.id = cancel_run.run_id;
    if notify then
        perform pg_notify('longhaul_event', run_id::text);
    end if;
    if children then
        perform longhaul.cancel_children(run_id, reason, actor, notify);
    end if;
    if found_run.parent_id is not null then
        perform longhaul.child_ended(found_run.parent_id, run_id, notify);
    end if;
    return 'cancelled';
end
$$;

-- Stops work on a run for a while: it is not claimed, woken or driven on until it is resumed. What is out is waited
-- for and recorded. Answers with the state that it left. Asking twice changes nothing.
create function longhaul.pause_run(
    run_id uuid,
    reason text    default null,
    actor  text    default null,
    notify boolean default true
)
returns text
language plpgsql
as $$
#variable_conflict use_variable
declare
    found_run longhaul.run;
begin
    select run.* into found_run from longhaul.run where run.id = pause_run.run_id for no key update;
    if not found then
        perform longhaul.refuse('LH404', 'no_such_run', format('run %s does not exist', run_id));
    end if;
    if found_run.ended_at is not null then
        perform longhaul.refuse('LH409', 'run_has_ended', format('run %s has already %s', run_id, found_run.state));
    end if;
    if found_run.paused_at is not null then
        return found_run.state;
    end if;
    insert into longhaul.request (run_id, wake, kind, actor, reason)
    values (run_id, found_run.wakes + 1, 'pause', coalesce(actor, session_user), reason);
    -- Nothing keeps a run that somebody has cancelled from its end.
    if found_run.cancel_requested_at is not null and found_run.state <> 'running' then
        update longhaul.run set wakes = run.wakes + 1 where run.id = pause_run.run_id;
        return found_run.state;
    end if;
    -- The holder of a running one writes the event when it gives the run back.
    if found_run.state <> 'running' then
        insert into longhaul.event (run_id, seq, kind, fence, data)
        values (run_id, found_run.event_seq + 1, 'run.paused', found_run.fence,
            json_build_object('by', coalesce(actor, session_user), 'reason', reason));
    end if;
    update longhaul.run
    set paused_at    = now(),
        paused_by    = coalesce(actor, session_user),
        pause_reason = reason,
        wakes        = run.wakes + 1,
        event_seq    = run.event_seq + (run.state <> 'running')::integer
    where run.id = pause_run.run_id;
    if notify and found_run.state = 'running' then
        perform pg_notify('longhaul_changed', found_run.worker_id::text);
    elsif notify then
        perform pg_notify('longhaul_event', run_id::text);
    end if;
    return found_run.state;
end
$$;

-- Lets a paused run go on where it was, and a failed one, or one that waits for a person, begin again where it stopped:
-- every recorded result is kept, what failed goes on as a new step. A run with an at_most_once call of unknown outcome
-- is refused: only a decision about that call may end the doubt. Answers with the state that it left.
create function longhaul.resume_run(
    run_id uuid,
    reason text    default null,
    actor  text    default null,
    notify boolean default true
)
returns text
language plpgsql
as $$
#variable_conflict use_variable
declare
    found_run    longhaul.run;
    unknown_step longhaul.step;
    stopped      boolean;
begin
    select run.* into found_run from longhaul.run where run.id = resume_run.run_id for no key update;
    if not found then
        perform longhaul.refuse('LH404', 'no_such_run', format('run %s does not exist', run_id));
    end if;
    stopped := found_run.state = 'failed' or found_run.waiting_for is not distinct from 'approval';
    if found_run.state in ('succeeded', 'cancelled') or (found_run.paused_at is null and not stopped) then
        perform longhaul.refuse('LH409', 'not_resumable',
            format('run %s is %s: only a paused run, a failed one, or one that waits for a person, is resumed', run_id,
                found_run.state || coalesce(' for a ' || found_run.waiting_for, '')));
    end if;

    -- A pause is lifted first; what a paused run had been waiting for, it still waits for.
    if found_run.paused_at is not null and found_run.state <> 'failed' then
        insert into longhaul.request (run_id, wake, kind, actor, reason)
        values (run_id, found_run.wakes + 1, 'resume', coalesce(actor, session_user), reason);
    end if;
    if found_run.paused_at is not null and found_run.state <> 'failed' then
        if found_run.state <> 'running' then
            insert into longhaul.event (run_id, seq, kind, fence, data)
            values (run_id, found_run.event_seq + 1, 'run.resumed', found_run.fence,
                json_build_object('by', coalesce(actor, session_user), 'reason', reason, 'from', 'paused'));
        end if;
        update longhaul.run
        set paused_at    = null,
            paused_by    = null,
            pause_reason = null,
            wakes        = run.wakes + 1,
            event_seq    = run.event_seq + (run.state <> 'running')::integer
        where run.id = resume_run.run_id;
        if notify and found_run.state in ('queued', 'waiting') then
            perform pg_notify('longhaul_due', found_run.queue);
            perform pg_notify('longhaul_event', run_id::text);
        end if;
        return found_run.state;
    end if;

    select step.*
    into unknown_step
    from longhaul.step
    where step.run_id = resume_run.run_id
      and step.state = 'unknown'
      and step.effect = 'at_most_once'
    order by step.seq
    limit 1;
    if found then
        perform longhaul.refuse('LH409', 'unknown_outcome',
            format('step %s (%s) of run %s may have happened, and nobody can vouch for it', unknown_step.seq,
                unknown_step.name, run_id),
            'find out what happened; until decisions on unknown outcomes exist, longhaul run cancel ends the run');
    end if;

    insert into longhaul.request (run_id, wake, kind, actor, reason)
    values (run_id, found_run.wakes + 1, 'resume', coalesce(actor, session_user), reason);
    insert into longhaul.event (run_id, seq, kind, fence, data)
    values (run_id, found_run.event_seq + 1, 'run.resumed', found_run.fence,
        json_build_object('by', coalesce(actor, session_user), 'reason', reason, 'from', found_run.state));
    update longhaul.run
    set state         = 'queued',
        waiting_for   = null,
        wait_reason   = null,
        due_at        = now(),
        ended_at      = null,
        error         = null,
        paused_at     = null,
        paused_by     = null,
        pause_reason  = null,
        -- One stays until a result is recorded: what a dead worker may have begun without a trace is still in doubt.
        crashes       = least(run.crashes, 1),
        event_seq     = found_run.event_seq + 1,
        wakes         = run.wakes + 1,
        resumed_fence = found_run.fence,
        deadline_at   = case when run.deadline_at <= now() then now() + (run.deadline_at - run.created_at)
                             else run.deadline_at end
    where run.id = resume_run.run_id;
    if notify then
        perform pg_notify('longhaul_due', found_run.queue);
        perform pg_notify('longhaul_event', run_id::text);
    end if;
    return 'queued';
end
$$;
