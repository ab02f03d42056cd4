-- What cancels, pauses and resumes a run. Applications call these functions, inside their own transactions if they like.
-- The Rust, HTTP and command line doors call the same ones. Refusals: SQLSTATE LH4nn, a stable code as the constraint
-- name, docs/errors/.

-- Cancels runs that have not ended, whose rows and whose parents' rows the caller has locked: those that nobody holds end,
-- and the holders of the others are asked. Answers with those that have ended. One statement a table, however many.
create function longhaul.cancel_locked(run_ids uuid[], reason text, actor text, notify boolean, children boolean)
returns uuid[]
language plpgsql
as $$
#variable_conflict use_variable
declare
    idle uuid[];
    held uuid[];
begin
    select
        coalesce(array_agg(run.id) filter (where run.state <> 'running'), '{}'),
        coalesce(array_agg(run.id) filter (where run.state = 'running' and run.cancel_requested_at is null), '{}')
    into idle, held
    from unnest(run_ids) as wanted (id)
    join longhaul.run on run.id = wanted.id
    where run.ended_at is null;

    insert into longhaul.request (run_id, wake, kind, actor, reason)
    select run.id, run.wakes + 1, 'cancel', coalesce(actor, session_user), reason
    from unnest(idle || held) as wanted (id)
    join longhaul.run on run.id = wanted.id;

    -- A call that went out and was not answered keeps its honest end: unknown, unless repeating it changes nothing.
    with ended as (
        update longhaul.step
        set state    = case when step.effect in ('idempotent', 'at_most_once') and (step.state = 'running' or step.maybe_applied)
                            then 'unknown' else 'cancelled' end,
            maybe_applied = step.maybe_applied or step.state = 'running',
            due_at   = null,
            ended_at = case when step.effect in ('idempotent', 'at_most_once') and (step.state = 'running' or step.maybe_applied)
                            then null else now() end
        from unnest(idle) as wanted (id)
        where step.run_id = wanted.id
          and step.state in ('waiting', 'running')
        returning step.run_id, step.seq, step.state
    ), placed as (
        select ended.run_id, ended.seq, ended.state, row_number() over (partition by ended.run_id order by ended.seq) as place
        from ended
    ), counted as (
        select placed.run_id, max(placed.place) as steps from placed group by placed.run_id
    ), over as (
        select run.id, run.event_seq, run.event_seq + coalesce(counted.steps, 0) + 1 as last_seq, run.fence
        from unnest(idle) as wanted (id)
        join longhaul.run on run.id = wanted.id
        left join counted on counted.run_id = wanted.id
    ), logged as (
        insert into longhaul.event (run_id, seq, kind, step_seq, fence)
        select placed.run_id, over.event_seq + placed.place, 'step.' || placed.state, placed.seq, over.fence
        from placed
        join over on over.id = placed.run_id
    ), told as (
        insert into longhaul.event (run_id, seq, kind, fence, data)
        select over.id, over.last_seq, 'run.cancelled', over.fence,
            json_build_object('by', coalesce(actor, session_user), 'reason', reason)
        from over
    )
    update longhaul.run
    set state               = 'cancelled',
        waiting_for         = null,
        wait_reason         = null,
        due_at              = null,
        ended_at            = now(),
        event_seq           = over.last_seq,
        wakes               = run.wakes + 1,
        paused_at           = null,
        paused_by           = null,
        pause_reason        = null,
        cancel_requested_at = now(),
        cancel_requested_by = coalesce(actor, session_user),
        cancel_reason       = reason,
        ends_children       = run.ends_children and children
    from over
    where run.id = over.id;

    update longhaul.run
    set cancel_requested_at = now(),
        cancel_requested_by = coalesce(actor, session_user),
        cancel_reason       = reason,
        wakes               = run.wakes + 1,
        ends_children       = run.ends_children and children
    from unnest(held) as wanted (id)
    where run.id = wanted.id;

    update longhaul.approval
    set state = 'withdrawn', decided_at = now()
    where approval.run_id = any (held)
      and approval.state = 'open';
    perform longhaul.ask_about_ended(idle);

    if notify then
        -- 200 ids and their commas are less than the 8,000 bytes of one notification.
        perform pg_notify('longhaul_event', array_to_string(idle[first : first + 199], ','))
        from generate_series(1, cardinality(idle), 200) as first;
        perform pg_notify('longhaul_changed', run.worker_id::text)
        from unnest(held) as wanted (id)
        join longhaul.run on run.id = wanted.id;
    end if;
    return idle;
end
$$;

-- Ends a run that nobody holds at once; asks the holder of a running one. Answers with the state that it left:
-- 'cancelled', or 'running' where the holder still has to end it. Asking twice changes nothing.
-- The children that are to end with it are cancelled too, and theirs, unless `children` says otherwise: up to 200 of the
-- tree in this transaction, but for those whose rows somebody else has just now. That all the others will be is certain
-- once it is committed: workers do it, a batch at a time. A run that is started below it from now on is refused.
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

    perform longhaul.cancel_locked(array[run_id], reason, actor, notify, coalesce(children, true));
    if coalesce(children, true) then
        perform longhaul.cancel_below(run_id, reason, actor, notify);
        if notify and exists (select from longhaul.run where run.id = cancel_run.run_id and run.ends_children) then
            perform pg_notify('longhaul_due', found_run.queue);
        end if;
    end if;
    if found_run.state = 'running' then
        return 'running';
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
      and step.effect in ('at_most_once', 'transactional')
      and not exists (
          select from longhaul.approval
          where approval.run_id = step.run_id
            and approval.step_seq = step.seq
            and approval.attempt = step.attempt
            and approval.verb in ('happened', 'did_not_happen', 'give_up'))
    order by step.seq
    limit 1;
    if found then
        perform longhaul.refuse('LH409', 'unknown_outcome',
            format('step %s (%s) of run %s may have happened, and nobody can vouch for it', unknown_step.seq,
                unknown_step.name, run_id),
            'find out what happened, and decide it: longhaul inbox list --run ' || run_id);
    end if;
    -- What is asked of the run, and whether a call may be tried under its old key, is decided with it.
    update longhaul.approval
    set state      = 'decided',
        decided_at = now(),
        verb       = 'approve',
        actor      = coalesce(resume_run.actor, session_user),
        words      = resume_run.reason
    where approval.run_id = resume_run.run_id
      and approval.state = 'open'
      and 'approve' = any (approval.verbs);

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
