-- What a person is asked, and what becomes of the answer. docs/approvals.md tells it to those who decide.
--
-- Decisions are facts: they are written here, once, whoever holds the run, and its holder acts upon them. Only where the
-- run has ended nobody will, so the step's end is written with the decision. Locks go from the run to its approvals.

-- Asks about a step that nobody can vouch for, or, where step_seq is null, about the run that waits for a person. Asked
-- twice about the same attempt is asked once. The caller holds the run's lock, or has just written the run.
create function longhaul.open_approval(run_id uuid, step_seq integer)
returns void
language plpgsql
as $$
#variable_conflict use_variable
declare
    asked_run  longhaul.run;
    asked_step longhaul.step;
    tool       json;
    -- It was carried out, and only its result cannot be kept.
    is_done    boolean;
    verbs      text[];
begin
    select run.* into asked_run from longhaul.run where run.id = open_approval.run_id;
    if step_seq is null then
        insert into longhaul.approval (run_id, fence, reason, verbs, summary)
        values (run_id, asked_run.fence, asked_run.wait_reason, '{approve,reject}', case asked_run.wait_reason
            when 'crashes' then format('The last %s workers that held the run died. Shall it go on?', asked_run.crashes)
            when 'spend_cap' then 'The provider refuses to work until somebody lifts its spending limit. Shall the run go on?'
            when 'refusal' then 'The model refused to go on. Shall it be asked once more?'
            when 'unknown_stop_reason' then 'The model stopped for a reason that nobody here knows. Shall it be asked once more?'
            else format('The run waits for a person: %s. Shall it go on?', asked_run.wait_reason) end)
        on conflict do nothing;
        return;
    end if;

    select step.* into asked_step from longhaul.step
    where step.run_id = open_approval.run_id and step.seq = open_approval.step_seq;
    select entry.tool
    into tool
    from longhaul.agent_version
    cross join json_array_elements(agent_version.definition -> 'tools') as entry (tool)
    where agent_version.id = asked_run.agent_version_id
      and entry.tool ->> 'name' = asked_step.name;
    update longhaul.approval
    set state = 'superseded', decided_at = now()
    where approval.run_id = open_approval.run_id
      and approval.step_seq = open_approval.step_seq
      and approval.attempt <> asked_step.attempt
      and approval.state = 'open';
    is_done := coalesce(
        asked_step.error ->> 'code' in ('result_too_large', 'result_too_deep', 'output_unreadable'), false);
    verbs := case when is_done then '{happened}'::text[]
        else array['happened', 'did_not_happen']
            || case when asked_run.ended_at is null and tool -> 'probe' is not null then '{probe_again}'::text[] end
            || case when asked_run.state <> 'cancelled' and asked_step.effect in ('read_only', 'idempotent')
                    then '{approve,reject}'::text[] end
        end || '{give_up}'::text[];
    insert into longhaul.approval (run_id, step_seq, attempt, fence, reason, verbs, summary, settles_at)
    values (
        run_id, step_seq, asked_step.attempt, asked_run.fence,
        case when asked_step.effect in ('at_most_once', 'transactional') then 'unknown_outcome' else 'retries_exhausted' end,
        verbs,
        format(
            case when is_done then 'Step %s, %s of %s, was carried out, but %s. What is its result?'
                 else 'Step %s, %s of %s, may have happened: %s. Did it?' end,
            step_seq, asked_step.effect, asked_step.name,
            coalesce(asked_step.error ->> 'message', 'its worker was lost while it was out')),
        -- Its worker knew best: a workflow's limits stand in its code, and a call whose worker was lost had left at the
        -- latest when that one's lease was over.
        coalesce(asked_step.due_at, coalesce(asked_step.attempt_started_at, asked_step.created_at)
            + make_interval(secs => coalesce((tool ->> 'timeout_seconds')::double precision, 30))))
    on conflict do nothing;
end
$$;

-- Of runs that have just ended: nobody is asked any more what was to let them go on, and of each call whose outcome nobody
-- knows somebody is asked what became of it. The caller holds the runs' locks.
create function longhaul.ask_about_ended(run_ids uuid[])
returns void
language plpgsql
as $$
#variable_conflict use_variable
declare
    doubt record;
begin
    update longhaul.approval
    set state = 'withdrawn', decided_at = now()
    where approval.run_id = any (run_ids)
      and approval.state = 'open';
    for doubt in
        select step.run_id, step.seq, newest
        from longhaul.step
        left join lateral (
            select approval as newest
            from longhaul.approval
            where approval.run_id = step.run_id
              and approval.step_seq = step.seq
              and approval.attempt = step.attempt
              and approval.state = 'decided'
            order by approval.decided_at desc
            limit 1
        ) as decided on true
        where step.run_id = any (run_ids)
          and step.state = 'unknown'
        order by step.run_id, step.seq
    loop
        -- What was decided and not done yet is done now.
        if (doubt.newest).verb in ('happened', 'did_not_happen', 'give_up', 'reject') then
            perform longhaul.settle_step(doubt.newest);
        else
            perform longhaul.open_approval(doubt.run_id, doubt.seq);
        end if;
    end loop;
end
$$;

-- What a person tells of a call that happened, in the shape in which its step keeps results: a tool's is text for the model.
create function longhaul.told_result(kind text, result json, actor text)
returns json
language sql
immutable parallel safe
as $$
    select case
        when kind <> 'tool' then coalesce(result, 'null')
        else json_build_object(
            'content', case when json_typeof(result) is null or json_typeof(result) = 'null' then 'This call was carried out. Its result is not known.'
                            when json_typeof(result) = 'string' then result #>> '{}'
                            else result::text end,
            'notes', json_build_array(format('that it happened, and this result, was told by %s', actor)))
    end
$$;

-- Writes the end that a decision is for a step of a run that has ended. The caller holds the run's lock, and has written
-- the decision.
create function longhaul.settle_step(decided longhaul.approval)
returns void
language plpgsql
as $$
declare
    new_state text := case decided.verb when 'happened' then 'succeeded' when 'did_not_happen' then 'cancelled'
                                        else 'failed' end;
    last_seq  integer;
    new_fence bigint;
begin
    if decided.verb = 'approve' then
        return;
    end if;
    update longhaul.step
    set state    = new_state,
        ended_at = now(),
        result   = case when new_state = 'succeeded' then longhaul.told_result(step.kind, decided.result, decided.actor)
                        else step.result end,
        error    = case when new_state = 'failed'
                        then json_build_object('class', 'unknown', 'code', 'given_up',
                            'message', coalesce(decided.words, 'nobody could say whether it happened'))
                        else step.error end
    where step.run_id = decided.run_id
      and step.seq = decided.step_seq
      and step.state = 'unknown';
    if not found then
        return;
    end if;
    update longhaul.run set event_seq = run.event_seq + 1
    where run.id = decided.run_id
    returning run.event_seq, run.fence into last_seq, new_fence;
    insert into longhaul.event (run_id, seq, kind, step_seq, fence, data)
    values (decided.run_id, last_seq, 'step.' || new_state, decided.step_seq, new_fence,
        json_build_object('approval', decided.id, 'verb', decided.verb, 'by', decided.actor));
end
$$;

-- Decides what a person was asked, once. `words` are for the model and the record; `result` is what a call that happened
-- has answered. Answers with the run's state.
create function longhaul.decide_approval(
    approval_id uuid,
    verb        text,
    words       text    default null,
    result      json    default null,
    actor       text    default null,
    notify      boolean default true
)
returns text
language plpgsql
as $$
#variable_conflict use_variable
declare
    decided    longhaul.approval;
    found_run  longhaul.run;
    of_run     uuid;
    new_result json := longhaul.admit('result', result, 1048576);
    wakes_it   boolean;
begin
    if verb is null or verb not in ('happened', 'did_not_happen', 'probe_again', 'give_up', 'approve', 'reject') then
        perform longhaul.refuse('LH422', 'invalid_decision', format('%L is no decision', verb),
            'decisions are happened, did_not_happen, probe_again, give_up, approve and reject');
    end if;
    if octet_length(words) not between 1 and 4096 or octet_length(actor) not between 1 and 255 then
        perform longhaul.refuse('LH422', 'invalid_decision', 'words have 1 to 4096 bytes, an actor 1 to 255');
    end if;
    if result is not null and verb <> 'happened' then
        perform longhaul.refuse('LH422', 'invalid_decision', 'only what happened has a result');
    end if;
    select approval.run_id into of_run from longhaul.approval where approval.id = approval_id;
    select run.* into found_run from longhaul.run where run.id = of_run for no key update;
    select approval.* into decided from longhaul.approval
    where approval.run_id = of_run and approval.id = approval_id;
    if not found then
        perform longhaul.refuse('LH404', 'no_such_approval', format('approval %s does not exist', approval_id));
    end if;
    if decided.state = 'decided' then
        perform longhaul.refuse('LH409', 'already_decided', format('%s decided approval %s at %s: %s', decided.actor,
            approval_id, to_char(decided.decided_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), decided.verb));
    end if;
    if decided.state <> 'open' then
        perform longhaul.refuse('LH409', 'approval_closed',
            format('approval %s was %s: nobody is asked any more', approval_id, decided.state));
    end if;
    if verb <> all (decided.verbs) then
        perform longhaul.refuse('LH409', 'verb_not_allowed',
            format('%s is not among the decisions of approval %s', verb, approval_id),
            'they are: ' || array_to_string(decided.verbs, ', '));
    end if;
    if verb = 'happened' and result is null and exists (
        select from longhaul.step
        where step.run_id = of_run
          and step.seq = decided.step_seq
          and step.kind <> 'tool'
    ) then
        perform longhaul.refuse('LH422', 'invalid_decision', 'a workflow goes on with the result of its step',
            'give it as JSON, as the step would have: null where it returns nothing');
    end if;
    if verb = 'did_not_happen' and clock_timestamp() < decided.settles_at then
        perform longhaul.refuse('LH409', 'too_early',
            format('the call may still be on its way until %s',
                to_char(decided.settles_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
            'decide again after that instant');
    end if;

    update longhaul.approval
    set state      = 'decided',
        decided_at = now(),
        verb       = decide_approval.verb,
        actor      = coalesce(decide_approval.actor, session_user),
        words      = decide_approval.words,
        result     = new_result
    where approval.run_id = of_run
      and approval.id = approval_id
    returning approval.* into decided;

    if found_run.ended_at is not null then
        perform longhaul.settle_step(decided);
        update longhaul.run set wakes = run.wakes + 1 where run.id = of_run;
        if notify then
            perform pg_notify('longhaul_event', of_run::text);
        end if;
        return found_run.state;
    end if;

    -- A run that waits to be let go on as a whole waits on, whatever is decided about its steps.
    wakes_it := found_run.state = 'waiting' and not exists (
        select from longhaul.approval
        where approval.run_id = of_run
          and approval.state = 'open'
          and approval.step_seq is null);
    if wakes_it then
        insert into longhaul.event (run_id, seq, kind, step_seq, fence, data)
        values (of_run, found_run.event_seq + 1, 'run.woken', decided.step_seq, found_run.fence,
            json_build_object('by', 'decision', 'approval', approval_id, 'verb', verb, 'actor', decided.actor));
    end if;
    update longhaul.run
    set wakes         = run.wakes + 1,
        state         = case when wakes_it then 'queued' else run.state end,
        waiting_for   = case when wakes_it then null else run.waiting_for end,
        wait_reason   = case when wakes_it then null else run.wait_reason end,
        due_at        = case when wakes_it then now() else run.due_at end,
        event_seq     = run.event_seq + wakes_it::integer,
        -- The run as a whole begins again where it stopped; one crash stays, as after longhaul.resume_run.
        crashes       = case when decided.step_seq is null then least(run.crashes, 1) else run.crashes end,
        resumed_fence = case when decided.step_seq is null and verb = 'approve' then run.fence else run.resumed_fence end,
        deadline_at   = case when verb in ('approve', 'did_not_happen', 'probe_again') and run.deadline_at <= now()
                             then now() + (run.deadline_at - run.created_at) else run.deadline_at end
    where run.id = of_run;
    if notify and wakes_it then
        perform pg_notify('longhaul_due', found_run.queue);
        perform pg_notify('longhaul_event', of_run::text);
    elsif notify and found_run.state = 'running' then
        perform pg_notify('longhaul_changed', found_run.worker_id::text);
    end if;
    return case when wakes_it then 'queued' else found_run.state end;
end
$$;

-- What people were asked, with all that there is to judge it by.
create view longhaul_audit.approval as
select
    approval.id as approval_id, approval.run_id, run.tenant, run.requester, run.kind, run.agent, run.state as run_state,
    approval.step_seq, approval.attempt, approval.reason, approval.state, approval.summary, approval.verbs,
    approval.opened_at, approval.settles_at, approval.decided_at, approval.verb, approval.actor, approval.words,
    longhaul.safe_jsonb(approval.result) as result, step.name, step.effect, step.key,
    longhaul.safe_jsonb(step.request) as request, longhaul.safe_jsonb(step.error) as error,
    longhaul.safe_jsonb(step.evidence) as evidence, (
        select jsonb_agg(jsonb_build_object('name', probe.name, 'state', probe.state, 'at', probe.attempt_ended_at,
            'result', longhaul.safe_jsonb(probe.result), 'error', longhaul.safe_jsonb(probe.error)) order by probe.seq)
        from longhaul.step as probe
        where probe.run_id = approval.run_id
          and probe.kind = 'probe'
          and probe.identity like approval.step_seq || '.' || approval.attempt || '#%') as probes, (
        select jsonb_agg(jsonb_build_object('attempt', late.attempt, 'at', late.at,
            'outcome', longhaul.safe_jsonb(late.outcome)) order by late.at)
        from longhaul.late_result as late
        where late.run_id = approval.run_id
          and late.step_seq = approval.step_seq) as late_results
from longhaul.approval
join longhaul.run on run.id = approval.run_id
left join longhaul.step on step.run_id = approval.run_id and step.seq = approval.step_seq;

-- Results that came after their run had moved on. None was applied.
create view longhaul_audit.late_result as
select
    late_result.run_id, late_result.step_seq, late_result.attempt, worker.name as worker, late_result.fence,
    late_result.at, longhaul.safe_jsonb(late_result.outcome) as outcome
from longhaul.late_result
left join longhaul.worker on worker.id = late_result.worker_id;
