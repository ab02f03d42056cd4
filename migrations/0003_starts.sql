-- What starts runs, one at a time or a thousand. Applications call start_run and start_runs, inside their own transactions
-- if they like. The Rust, HTTP and command line doors call these same functions. Refusals: SQLSTATE LH4nn, a stable code
-- as the constraint name, docs/errors/.

-- The first rule that what a run is started with breaks, or null. Of one expression, so that it becomes part of the
-- statement that calls it: a batch is looked through in one go. longhaul.refuse_start says it in words.
create function longhaul.start_problem(
    kind            text,
    agent           text,
    labels          jsonb,
    history         json,
    queue           text,
    tenant          text,
    requester       text,
    priority        integer,
    due_at          timestamptz,
    deadline_at     timestamptz,
    idempotency_key text
)
returns text
language sql
immutable parallel safe
as $$
    select case
        when kind !~ '^[a-z0-9][a-z0-9-]{0,62}$' then 'invalid_kind'
        when kind = 'agent' and agent is null then 'agent_missing'
        when kind <> 'agent' and (agent is not null or history is not null) then 'not_an_agent'
        when labels <> '{}' and (jsonb_typeof(labels) <> 'object' or octet_length(labels::text) > 8192
            or jsonb_path_exists(labels, 'strict $.* ? (@.type() != "string")')) then 'invalid_labels'
        when json_typeof(history) <> 'array' then 'invalid_history'
        when coalesce(queue, '') = '' or octet_length(queue) > 255 or coalesce(tenant, '') = ''
            or octet_length(tenant) > 255 or octet_length(requester) not between 1 and 255 then 'invalid_name'
        when priority not between 0 and 1000 then 'invalid_priority'
        when not isfinite(due_at) or not isfinite(deadline_at)
            or date_part('year', due_at at time zone 'UTC') not between 2000 and 9999
            or date_part('year', deadline_at at time zone 'UTC') not between 2000 and 9999 then 'invalid_time'
        when octet_length(idempotency_key) not between 1 and 255 then 'invalid_key'
    end
$$;

-- Refuses a start for a rule of longhaul.start_problem.
create function longhaul.refuse_start(problem text, kind text)
returns void
language plpgsql
as $$
begin
    case problem
        when 'invalid_kind' then
            perform longhaul.refuse('LH422', problem, format('%L is not the name of a kind', kind),
                'agent, or the name of a workflow: 1 to 63 lower-case letters, digits and hyphens');
        when 'agent_missing' then
            perform longhaul.refuse('LH422', problem, 'a run of the kind agent names its agent');
        when 'not_an_agent' then
            perform longhaul.refuse('LH422', problem, format('a run of the kind %L has no agent and no history', kind));
        when 'invalid_labels' then
            perform longhaul.refuse('LH422', problem, 'labels are an object of strings within 8 KiB');
        when 'invalid_history' then
            perform longhaul.refuse('LH422', problem, 'an earlier conversation is an array of messages');
        when 'invalid_name' then
            perform longhaul.refuse('LH422', problem, 'queue, tenant and requester have 1 to 255 bytes');
        when 'invalid_priority' then
            perform longhaul.refuse('LH422', problem, 'a priority is 0 (first) to 1000 (last)');
        when 'invalid_time' then
            perform longhaul.refuse('LH422', problem, 'a time lies between the years 2000 and 9999');
        when 'invalid_key' then
            perform longhaul.refuse('LH422', problem, 'an idempotency key has 1 to 255 bytes');
    end case;
end
$$;

-- Admits an earlier conversation.
create function longhaul.admit_history(history json)
returns json
language plpgsql
strict
as $$
declare
    admitted json := longhaul.admit('history', history, 16777216);
begin
    if json_typeof(admitted) = 'array' and exists (
        select from json_array_elements(admitted) as entry (message)
        where coalesce(json_typeof(message) <> 'object', true)
           or coalesce(message ->> 'role' not in ('user', 'assistant'), true)
           or coalesce(json_typeof(message -> 'content') not in ('string', 'array'), true)
    ) then
        perform longhaul.refuse('LH422', 'invalid_history',
            'each message of an earlier conversation is {role, content}: a role of user or assistant, and text or blocks');
    end if;
    return admitted;
end
$$;

-- Inserts runs that break no rule, and their first events; says how many. One whose id is null is left out, and so is one
-- whose deadline is over before it is due, or whose agent does not exist: longhaul.refuse_insert says which it is.
create function longhaul.insert_runs(
    tenant     text,
    ids        uuid[],
    kinds      text[],
    agents     text[],
    queues     text[],
    priorities integer[],
    dues       timestamptz[],
    deadlines  timestamptz[],
    requesters text[],
    labels     jsonb[],
    inputs     json[],
    admitted   json[],
    histories  json[]
)
returns integer
language plpgsql
as $$
declare
    inserted integer;
begin
    with fresh as materialized (
        select
            new.*, coalesce(new.requester, session_user) as asker, coalesce(new.due_at, now()) as due,
            version.id as version_id, version.version, version.functions,
            coalesce(new.due_at, now()) + make_interval(
                secs => (version.definition -> 'limits' ->> 'wall_clock_seconds')::double precision) as allowed
        from unnest(
            insert_runs.ids, insert_runs.kinds, insert_runs.agents, insert_runs.queues, insert_runs.priorities,
            insert_runs.dues, insert_runs.deadlines, insert_runs.requesters, insert_runs.labels, insert_runs.inputs,
            insert_runs.admitted, insert_runs.histories
        ) as new (
            id, kind, agent, queue, priority, due_at, deadline_at, requester, labels, input, admitted, history)
        left join lateral (
            select agent_version.*
            from longhaul.agent
            join longhaul.agent_version on agent_version.id = agent.version_id
            where agent.tenant = insert_runs.tenant
              and agent.name = new.agent
        ) as version on true
        where new.id is not null
          and (new.kind <> 'agent' or version.id is not null)
          and not coalesce(new.deadline_at <= coalesce(new.due_at, now()), false)
    ), started as (
        insert into longhaul.run (
            id, tenant, requester, labels, kind, agent, agent_version_id, functions, queue, priority, state, due_at,
            deadline_at, deadline_is_callers, event_seq, input, history)
        select
            fresh.id, insert_runs.tenant, fresh.asker, fresh.labels, fresh.kind, fresh.agent, fresh.version_id,
            coalesce(fresh.functions, '{}'), fresh.queue, fresh.priority::smallint, 'queued', fresh.due,
            least(fresh.deadline_at, fresh.allowed),
            coalesce(fresh.deadline_at <= fresh.allowed, fresh.deadline_at is not null), 1, fresh.admitted, fresh.history
        from fresh
    ), logged as (
        insert into longhaul.event (run_id, seq, kind, fence, data)
        select
            fresh.id, 1, 'run.started', 0, json_build_object(
                'kind', fresh.kind, 'agent', fresh.agent, 'version', fresh.version, 'requester', fresh.asker,
                'queue', fresh.queue, 'nul_replaced', fresh.input::text <> fresh.admitted::text)
        from fresh
    )
    select count(*) into inserted from fresh;
    return inserted;
end
$$;

-- Says why longhaul.insert_runs left a run out.
create function longhaul.refuse_insert(tenant text, agent text, due_at timestamptz, deadline_at timestamptz)
returns void
language plpgsql
as $$
begin
    if deadline_at <= coalesce(due_at, now()) then
        perform longhaul.refuse('LH409', 'invalid_deadline', 'the deadline is over before the run is due');
    end if;
    perform longhaul.refuse('LH404', 'no_such_agent', format('agent %L does not exist in tenant %L', agent, tenant),
        'apply it first: longhaul agent apply FILE');
end
$$;

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
    new_input    json := longhaul.admit('input', coalesce(input, 'null'), 1048576);
    new_history  json := longhaul.admit_history(history);
    problem      text;
    earlier      record;
begin
    kind := coalesce(kind, 'agent');
    priority := coalesce(priority, 100);
    labels := coalesce(labels, '{}');
    problem := longhaul.start_problem(kind, agent, labels, new_history, queue, tenant, requester, priority, due_at,
        deadline_at, idempotency_key);
    if problem is not null then
        perform longhaul.refuse_start(problem, kind);
    end if;

    select longhaul.new_run_id_in(cell.number) into run_id from longhaul.cell;
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
    if longhaul.insert_runs(tenant, array[run_id], array[kind], array[agent], array[queue], array[priority],
        array[due_at], array[deadline_at], array[requester], array[labels], array[coalesce(input, 'null')],
        array[new_input], array[new_history]) = 0 then
        perform longhaul.refuse_insert(tenant, agent, due_at, deadline_at);
    end if;
    created := true;
    if notify then
        perform pg_notify('longhaul_due', queue);
        perform pg_notify('longhaul_event', run_id::text);
    end if;
end
$$;

-- Starts many runs or none, in a few statements for all of them. What belongs to a run stands at its place in each array;
-- an empty array holds nothing but nulls. A refusal names the item, counted from 0, as its detail.
create function longhaul.start_all(
    tenant     text,
    kinds      text[],
    agents     text[],
    queues     text[],
    priorities integer[],
    dues       timestamptz[],
    deadlines  timestamptz[],
    requesters text[],
    labels     jsonb[],
    keys       text[],
    inputs     json[],
    histories  json[],
    notify     boolean
)
returns table (item integer, run_id uuid, created boolean)
language plpgsql
as $$
#variable_conflict use_variable
declare
    admitted     json[] := inputs;
    earlier      json[];
    -- Null where the run was there before.
    ids          uuid[];
    answers      uuid[];
    are_new      boolean[];
    wanted       record;
    problem      text;
    refused      text;
    refused_code text;
    refused_hint text;
    sentence     text;
begin
    select array_agg(longhaul.new_run_id_in(cell.number)), array_agg(entry.history)
    into ids, earlier
    from longhaul.cell, unnest(kinds, histories) as entry (kind, history)
    where entry.kind is not null;

    -- All that is not plain, one by one.
    for wanted in
        select entry.*
        from unnest(kinds, agents, labels, queues, requesters, priorities, dues, deadlines, keys, inputs, earlier)
            with ordinality as entry (
                kind, agent, labels, queue, requester, priority, due_at, deadline_at, key, input, history, place)
        where not longhaul.is_plain(entry.input)
           or entry.history is not null
           or longhaul.start_problem(entry.kind, entry.agent, entry.labels, null, entry.queue, tenant, entry.requester,
                entry.priority, entry.due_at, entry.deadline_at, entry.key) is not null
        order by entry.place
    loop
        item := wanted.place - 1;
        admitted[wanted.place] := longhaul.admit('input', wanted.input, 1048576);
        earlier[wanted.place] := longhaul.admit_history(wanted.history);
        problem := longhaul.start_problem(wanted.kind, wanted.agent, wanted.labels, earlier[wanted.place], wanted.queue,
            tenant, wanted.requester, wanted.priority, wanted.due_at, wanted.deadline_at, wanted.key);
        if problem is not null then
            perform longhaul.refuse_start(problem, wanted.kind);
        end if;
    end loop;
    item := null;

    answers := ids;
    if array_length(array_remove(keys, null), 1) > 0 then
        -- By key: two batches with the same keys wait for each other and do not deadlock.
        insert into longhaul.run_key (tenant, key_digest, run_id)
        select tenant, longhaul.digest(entry.key), entry.id
        from unnest(keys, ids) with ordinality as entry (key, id, place)
        where entry.key is not null
        order by entry.key, entry.place
        on conflict do nothing;
        ids := array(
            select case when entry.key is null or run_key.run_id = entry.id then entry.id end
            from unnest(keys, ids) with ordinality as entry (key, id, place)
            left join longhaul.run_key on run_key.tenant = start_all.tenant
                                      and run_key.key_digest = longhaul.digest(entry.key)
            order by entry.place);
    end if;
    if longhaul.insert_runs(tenant, ids, kinds, agents, queues, priorities, dues, deadlines, requesters, labels, inputs,
        admitted, earlier) < coalesce(array_length(array_remove(ids, null), 1), 0) then
        for wanted in
            select entry.*
            from unnest(ids, agents, dues, deadlines) with ordinality as entry (id, agent, due_at, deadline_at, place)
            where entry.id is not null
              and not exists (select from longhaul.run where run.id = entry.id)
            order by entry.place
            limit 1
        loop
            item := wanted.place - 1;
            perform longhaul.refuse_insert(tenant, wanted.agent, wanted.due_at, wanted.deadline_at);
        end loop;
    end if;

    -- Whose key was there before: one by one.
    are_new := array(select entry.id is not null from unnest(ids) with ordinality as entry (id, place) order by entry.place);
    if array_length(array_remove(ids, null), 1) is distinct from array_length(ids, 1) then
        for wanted in
            select entry.*
            from unnest(ids, kinds, agents, labels, queues, requesters, priorities, dues, deadlines, keys, inputs, earlier)
                with ordinality as entry (
                    id, kind, agent, labels, queue, requester, priority, due_at, deadline_at, key, input, history, place)
            where entry.id is null
            order by entry.key, entry.place
        loop
            item := wanted.place - 1;
            select started.run_id, started.created
            into run_id, created
            from longhaul.start_run(
                agent           => wanted.agent,
                input           => wanted.input,
                kind            => wanted.kind,
                queue           => wanted.queue,
                priority        => wanted.priority,
                due_at          => wanted.due_at,
                deadline_at     => wanted.deadline_at,
                requester       => wanted.requester,
                tenant          => tenant,
                labels          => wanted.labels,
                idempotency_key => wanted.key,
                history         => wanted.history,
                notify          => false
            ) as started;
            answers[wanted.place] := run_id;
            are_new[wanted.place] := created;
        end loop;
    end if;

    if notify then
        perform pg_notify('longhaul_due', named.queue)
        from (select distinct entry.queue from unnest(queues, are_new) as entry (queue, is_new) where entry.is_new) as named;
    end if;
    return query
        select (entry.place - 1)::integer, entry.id, entry.is_new
        from unnest(answers, are_new) with ordinality as entry (id, is_new, place);
exception when others then
    get stacked diagnostics
        refused = returned_sqlstate, refused_code = constraint_name, refused_hint = pg_exception_hint,
        sentence = message_text;
    raise exception using
        errcode = refused, constraint = coalesce(refused_code, ''), message = sentence,
        hint = coalesce(refused_hint, ''), detail = coalesce(item::text, '');
end
$$;

-- As longhaul.start_all, for callers who have the runs as JSON: each of `runs` is an object with the names of start_run's
-- arguments, but for the payloads. These stand beside it, in the same order.
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
    given    record;
    sentence text;
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
        raise exception using
            errcode = 'LH422', constraint = 'invalid_runs', message = format('a run has no field %L', sentence),
            detail = item::text;
    end loop;

    begin
        select
            array_agg(coalesce(entry.kind, 'agent')) as kinds, array_agg(entry.agent) as agents,
            array_agg(coalesce(entry.queue, 'default')) as queues,
            array_agg(coalesce(entry.priority, 100)) as priorities, array_agg(entry.due_at) as dues,
            array_agg(entry.deadline_at) as deadlines, array_agg(entry.requester) as requesters,
            array_agg(coalesce(entry.labels, '{}')) as labels, array_agg(entry.idempotency_key) as keys
        into given
        from json_to_recordset(runs) as entry (
            kind text, agent text, queue text, priority integer, due_at timestamptz, deadline_at timestamptz,
            requester text, labels jsonb, idempotency_key text);
    exception when data_exception then
        -- A value of the wrong type.
        perform longhaul.refuse('LH422', 'invalid_runs', sqlerrm);
    end;
    return query
        select started.*
        from longhaul.start_all(
            tenant, given.kinds, given.agents, given.queues, given.priorities, given.dues, given.deadlines,
            given.requesters, given.labels, given.keys,
            array(select coalesce(entry.input, '{}') from unnest(inputs) with ordinality as entry (input, place) order by place),
            histories, notify) as started;
end
$$;
