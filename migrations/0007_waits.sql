-- What a run waits for besides the time: signals from outside, and its children's ends.
--
-- Whoever wakes a run holds its row's lock, adds one to its wakes, and commits that together with what it woke it for.
-- Locks go from parents to children: whoever ends a child has its parent's row first.

-- How soon a run goes on of which several children are still open. A run that is woken reads its whole journal again: one
-- with a long journal waits a few times as long as that takes, so that the ends of many children are one wake-up. None: at
-- once.
create function longhaul.patience(event_seq integer)
returns interval
language sql
immutable strict parallel safe
as $$
    select case when event_seq >= 100 then least(event_seq * interval '50 microseconds', interval '1 second') end
$$;

-- Counts a wake-up, and puts the run back into its queue where a step waits for this very thing; or lets its time come
-- before long, where more of the kind may come soon. The caller holds the row's lock. Answers with the new count.
create function longhaul.wake_run(run_id uuid, awaited_kind text, awaited text, why json, notify boolean)
returns bigint
language plpgsql
as $$
#variable_conflict use_variable
declare
    woken   longhaul.run;
    returns boolean;
    soon    timestamptz;
    -- Of a wait for this child: its digest, since JSON text may hold what no text can, and the start of a child may be
    -- tried again just now.
    child   bytea := longhaul.digest(format('{"run_id":"%s"}', awaited));
begin
    select
        run.state = 'waiting'
        -- A run that waits for people as a whole waits for nothing else; one that waits for what they say of a step goes on
        -- with its others.
        and (run.waiting_for <> 'approval' or run.wait_reason in ('unknown_outcome', 'retries_exhausted'))
        and case awaited_kind
            when 'child' then exists (
                select from longhaul.step
                where step.run_id = wake_run.run_id
                  and step.kind = 'child'
                  and step.request_digest = child
                  and step.state = 'waiting')
            when 'signal' then exists (
                select from longhaul.step
                where step.run_id = wake_run.run_id
                  and step.kind = 'signal'
                  and step.name = wake_run.awaited
                  and step.state = 'waiting')
        end,
        case when awaited_kind = 'child' then now() + longhaul.patience(run.event_seq) end
    into returns, soon
    from longhaul.run
    where run.id = wake_run.run_id;
    -- The last one is not waited for.
    if returns and soon is not null and exists (
        select from longhaul.run where run.parent_id = wake_run.run_id and run.ended_at is null
    ) then
        returns := false;
    else
        soon := null;
    end if;

    update longhaul.run
    set wakes       = run.wakes + 1,
        state       = case when returns then 'queued' else run.state end,
        waiting_for = case when returns then null else run.waiting_for end,
        wait_reason = case when returns then null else run.wait_reason end,
        due_at      = case when returns then now() else least(run.due_at, soon) end,
        event_seq   = run.event_seq + returns::integer
    where run.id = wake_run.run_id
    returning run.* into woken;
    if returns then
        insert into longhaul.event (run_id, seq, kind, fence, data)
        values (run_id, woken.event_seq, 'run.woken', woken.fence, why);
    end if;
    if notify and returns then
        perform pg_notify('longhaul_due', woken.queue);
        perform pg_notify('longhaul_event', run_id::text);
    elsif notify and woken.due_at = soon then
        perform pg_notify('longhaul_due', woken.queue);
    elsif notify and woken.state = 'running' then
        perform pg_notify('longhaul_changed', woken.worker_id::text);
    end if;
    return woken.wakes;
end
$$;

-- Tells a run something. It is kept until the run waits for a signal of that name; each wait takes the oldest one.
-- signal_id is of the sender's choosing: sent twice is sent once, whatever became of the run since then.
create function longhaul.send_signal(
    run_id        uuid,
    name          text,
    payload       json    default 'null',
    inout signal_id text  default null,
    sender        text    default null,
    notify        boolean default true,
    out created   boolean
)
language plpgsql
as $$
#variable_conflict use_variable
declare
    new_payload json := longhaul.admit('payload', coalesce(payload, 'null'), 1048576);
    found_run   longhaul.run;
    earlier     longhaul.signal;
begin
    if octet_length(coalesce(name, '')) not between 1 and 255 or octet_length(signal_id) not between 1 and 255
        or octet_length(sender) not between 1 and 255 then
        perform longhaul.refuse('LH422', 'invalid_signal', 'a signal''s name, id and sender have 1 to 255 bytes');
    end if;
    select run.* into found_run from longhaul.run where run.id = send_signal.run_id for no key update;
    if not found then
        perform longhaul.refuse('LH404', 'no_such_run', format('run %s does not exist', run_id));
    end if;
    select signal.*
    into earlier
    from longhaul.signal
    where signal.run_id = send_signal.run_id
      and signal.id = send_signal.signal_id;
    if found then
        if earlier.name <> name or earlier.payload::jsonb <> new_payload::jsonb then
            perform longhaul.refuse('LH409', 'signal_id_reused',
                format('signal %L was sent to run %s with another name or payload', signal_id, run_id),
                'use a new id for a new signal');
        end if;
        created := false;
        return;
    end if;
    if found_run.ended_at is not null then
        perform longhaul.refuse('LH409', 'run_has_ended', format('run %s has already %s', run_id, found_run.state));
    end if;

    signal_id := coalesce(signal_id, gen_random_uuid()::text);
    created := true;
    insert into longhaul.signal (run_id, name, wake, id, sender, payload)
    values (run_id, name, found_run.wakes + 1, signal_id, coalesce(sender, session_user), new_payload);
    perform longhaul.wake_run(run_id, 'signal', name,
        json_build_object('by', 'signal', 'name', name, 'signal', signal_id), notify);
end
$$;

-- Starts a child for the holder of its parent: the step's key starts it once, however often it is asked. The parent's
-- row is locked, so that a child that comes after its parent's cancel is refused.
create function longhaul.start_child(
    parent        uuid,
    parent_fence  bigint,
    key           text,
    kind          text,
    agent         text,
    input         json,
    queue         text,
    priority      integer,
    labels        jsonb,
    on_parent_end text,
    notify        boolean default true
)
returns uuid
language plpgsql
as $$
#variable_conflict use_variable
declare
    holder  longhaul.run;
    started record;
begin
    select run.* into holder from longhaul.run where run.id = start_child.parent for no key update;
    if holder.fence is distinct from parent_fence or holder.state <> 'running' then
        perform longhaul.refuse('LH409', 'claim_lost', format('run %s has moved on', parent));
    end if;
    if holder.cancel_requested_at is not null then
        perform longhaul.refuse('LH409', 'run_is_cancelled', format('run %s is to be cancelled', parent));
    end if;
    if holder.depth >= 16 then
        perform longhaul.refuse('LH409', 'child_too_deep',
            format('run %s is %s levels below the run that its tree began with, and may start no children', parent,
                holder.depth),
            'a tree of runs is 16 levels deep at most: look for a cycle of runs that start each other');
    end if;
    select new.run_id, new.created
    into started
    from longhaul.start_run(
        agent           => agent,
        input           => input,
        kind            => kind,
        queue           => coalesce(queue, holder.queue),
        priority        => coalesce(priority, holder.priority),
        requester       => holder.requester,
        tenant          => holder.tenant,
        labels          => labels,
        idempotency_key => 'child:' || encode(longhaul.digest(key), 'hex'),
        notify          => notify
    ) as new;
    if started.created then
        -- One that is there needs nobody to start it.
        if kind <> 'agent' and not exists (
            select from longhaul.worker
            where worker.closed_at is null
              and worker.lease_expires_at > now()
              and start_child.kind = any (worker.kinds)
        ) then
            perform longhaul.refuse('LH404', 'unknown_kind', format('no live worker has a workflow %L', kind));
        end if;
        if start_child.on_parent_end = 'cancel' and not holder.ends_children then
            update longhaul.run set ends_children = true where run.id = holder.id;
        end if;
        update longhaul.run
        set parent_id     = holder.id,
            tree_id       = coalesce(holder.tree_id, holder.id),
            depth         = holder.depth + 1,
            on_parent_end = start_child.on_parent_end
        where run.id = started.run_id;
    elsif not exists (select from longhaul.run where run.id = started.run_id and run.parent_id = holder.id) then
        perform longhaul.refuse('LH409', 'key_reused',
            format('run %s was started under the key of a child of run %s, and is none', started.run_id, parent));
    end if;
    return started.run_id;
end
$$;

-- Tells a parent of its child's end, in the transaction of that end. The caller holds both rows' locks.
create function longhaul.child_ended(parent uuid, child uuid, notify boolean default true)
returns void
language plpgsql
as $$
#variable_conflict use_variable
begin
    if exists (select from longhaul.run where run.id = parent and run.ended_at is null) then
        perform longhaul.wake_run(parent, 'child', child::text, json_build_object('by', 'child', 'run_id', child), notify);
    end if;
end
$$;

-- Cancels children of a run that are to end with it, as many as are wanted. Those whose rows somebody else has just now
-- are left for later: it waits for nobody. The caller holds the run's lock. Answers with those that it cancelled; whether
-- any are left is in the run's row.
create function longhaul.cancel_children(parent uuid, reason text, actor text, notify boolean, most integer)
returns uuid[]
language plpgsql
as $$
#variable_conflict use_variable
declare
    above    longhaul.run;
    told     uuid[];
    ended    uuid[];
    are_left boolean;
begin
    select run.* into above from longhaul.run where run.id = parent;
    if not above.ends_children then
        return '{}';
    end if;
    select coalesce(array_agg(child.id), '{}')
    into told
    from (
        select run.id
        from longhaul.run
        where run.parent_id = parent
          and run.on_parent_end = 'cancel'
          and run.ended_at is null
          and run.cancel_requested_at is null
        limit most
        for no key update skip locked
    ) as child;
    ended := longhaul.cancel_locked(told, reason, actor, notify, true);
    are_left := exists (
        select from longhaul.run
        where run.parent_id = parent
          and run.on_parent_end = 'cancel'
          and run.ended_at is null
          and run.cancel_requested_at is null);
    -- It is over, or is to be, and waits for none of them: their ends are counted, and that is all.
    if not are_left or (ended <> '{}' and above.ended_at is null) then
        update longhaul.run
        set wakes         = run.wakes + case when run.ended_at is null then cardinality(ended) else 0 end,
            ends_children = are_left
        where run.id = parent;
    end if;
    return told;
end
$$;

-- Cancels what is below a run and is to end with it, level by level, up to so many runs. The caller holds the run's lock.
-- Answers with how many it cancelled. What is left is found by sweep_children.
create function longhaul.cancel_below(
    run_id uuid,
    reason text,
    actor  text,
    notify boolean default true,
    most   integer default 200
)
returns integer
language plpgsql
as $$
#variable_conflict use_variable
declare
    parents uuid[]  := array[run_id];
    done    integer := 0;
    told    uuid[];
begin
    while parents <> '{}' and done < most loop
        told := longhaul.cancel_children(parents[1], reason, actor, notify, most - done);
        done := done + cardinality(told);
        parents := parents[2:] || array(
            select run.id
            from unnest(told) as below (id)
            join longhaul.run on run.id = below.id
            where run.ends_children);
    end loop;
    return done;
end
$$;

-- Cancels a batch of what is left below runs that are over, or are to be. It waits for nobody: a row that somebody else
-- has is left for the next time. Answers with how many it cancelled.
create function longhaul.sweep_children(most integer default 200)
returns integer
language plpgsql
as $$
#variable_conflict use_variable
declare
    seen  uuid[]  := '{}';
    done  integer := 0;
    above record;
begin
    while done < most and cardinality(seen) < most loop
        select run.id, run.state, run.cancel_requested_by, run.cancel_reason
        into above
        from longhaul.run
        where run.ends_children
          and (run.ended_at is not null or run.cancel_requested_at is not null)
          and run.id <> all (seen)
        limit 1
        for no key update skip locked;
        exit when not found;
        seen := seen || above.id;
        done := done + longhaul.cancel_below(above.id,
            case when above.cancel_requested_by is null then 'its parent is ' || above.state else above.cancel_reason end,
            coalesce(above.cancel_requested_by, 'run ' || above.id), true, most - done);
    end loop;
    return done;
end
$$;
