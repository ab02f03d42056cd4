-- What auditors and dashboards read. Columns are only ever added.

create view longhaul_audit.run as
select
    run.id as run_id, run.tenant, run.requester, run.labels, run.kind, run.agent,
    agent_version.version as agent_version, run.queue, run.priority, run.state, run.waiting_for, run.wait_reason,
    run.due_at, run.deadline_at, worker.name as worker, run.fence, run.crashes, run.cancel_requested_at,
    run.cancel_requested_by, run.cancel_reason, run.paused_at, run.paused_by, run.created_at, run.started_at, run.ended_at,
    longhaul.safe_jsonb(run.input) as input, longhaul.safe_jsonb(run.result) as result,
    longhaul.safe_jsonb(run.error) as error, run.parent_id, coalesce(run.tree_id, run.id) as tree_id, run.depth,
    run.on_parent_end
from longhaul.run
left join longhaul.agent_version on agent_version.id = run.agent_version_id
left join longhaul.worker on worker.id = run.worker_id;

create view longhaul_audit.step as
select
    step.run_id, step.seq, step.turn, step.kind, step.name, step.identity, step.call_id, step.state, step.effect, step.key,
    step.attempt as attempts, step.attempts_max, step.maybe_applied, step.replaces_seq, worker.name as worker,
    step.fence, step.due_at, step.created_at, step.attempt_started_at, step.attempt_ended_at, step.ended_at,
    encode(step.request_digest, 'hex') as request_sha256, longhaul.safe_jsonb(step.request) as request,
    longhaul.safe_jsonb(step.result) as result, longhaul.safe_jsonb(step.error) as error,
    longhaul.safe_jsonb(step.evidence) as evidence
from longhaul.step
left join longhaul.worker on worker.id = step.worker_id;

create view longhaul_audit.attempt as
select
    attempt.run_id, attempt.step_seq, attempt.attempt, worker.name as worker, attempt.fence, attempt.started_at,
    attempt.ended_at, longhaul.safe_jsonb(attempt.error) as error, longhaul.safe_jsonb(attempt.evidence) as evidence
from longhaul.attempt
left join longhaul.worker on worker.id = attempt.worker_id
union all
select
    step.run_id, step.seq, step.attempt, worker.name, step.fence, step.attempt_started_at, step.attempt_ended_at,
    longhaul.safe_jsonb(step.error), longhaul.safe_jsonb(step.evidence)
from longhaul.step
left join longhaul.worker on worker.id = step.worker_id
where step.attempt > 0;

create view longhaul_audit.event as
select
    event.run_id, event.seq, event.at, event.kind, event.step_seq, worker.name as worker, event.fence,
    longhaul.safe_jsonb(event.data) as data
from longhaul.event
left join longhaul.worker on worker.id = event.worker_id;

create view longhaul_audit.request as
select request.run_id, request.at, request.kind, request.actor, request.reason
from longhaul.request;

-- Signals as they were sent. taken_by is the step that took it, null until one has.
create view longhaul_audit.signal as
select
    signal.run_id, signal.at, signal.name, signal.id, signal.sender, longhaul.safe_jsonb(signal.payload) as payload,
    taken.seq as taken_by
from longhaul.signal
left join longhaul.step as taken
    on taken.run_id = signal.run_id
   and taken.kind = 'signal'
   and taken.name = signal.name
   and (taken.result ->> 'wake')::bigint = signal.wake;

-- The conversation as the model is shown it: one row per message, and one per tool result in the order asked.
create view longhaul_audit.transcript as
with message as (
    select
        run.id as run_id, 0 as turn, 0 as part, entry.position::integer as item, null::integer as step_seq,
        run.created_at as at, entry.message ->> 'role' as role, null::text as tool,
        (entry.message -> 'content') as content, false as is_error
    from longhaul.run
    cross join lateral jsonb_array_elements(longhaul.safe_jsonb(run.history))
        with ordinality as entry (message, position)
    union all
    select
        run.id, 0, 1, 0, null, run.created_at, 'user', null,
        case json_typeof(run.input) when 'string' then longhaul.safe_jsonb(run.input)
                                    else to_jsonb(run.input::text) end,
        false
    from longhaul.run
    union all
    select
        step.run_id, step.turn, 0, 0, step.seq, step.ended_at, 'assistant', null,
        longhaul.safe_jsonb(step.result) -> 'content', false
    from longhaul.step
    where step.kind = 'model'
      and step.state = 'succeeded'
    union all
    select
        step.run_id, step.turn, 1, step.call_index, step.seq, step.ended_at, 'tool', step.name,
        longhaul.safe_jsonb(step.result) -> 'content',
        coalesce((longhaul.safe_jsonb(step.result) ->> 'is_error')::boolean, false)
    from longhaul.step
    where step.kind = 'tool'
      and step.result is not null
      and not exists (
          select from longhaul.step as later
          where later.run_id = step.run_id
            and later.replaces_seq = step.seq)
)
select
    message.run_id,
    row_number() over (
        partition by message.run_id order by message.turn, message.part, message.item, message.step_seq) as position,
    message.role, message.tool, message.is_error,
    case jsonb_typeof(message.content)
        when 'string' then message.content #>> '{}'
        when 'array' then (
            select string_agg(
                coalesce(block ->> 'text', case block ->> 'type'
                    when 'tool_use' then format('[calls %s %s]', block ->> 'name', block -> 'input')
                    else format('[%s]', block ->> 'type') end),
                E'\n' order by block_position)
            from jsonb_array_elements(message.content) with ordinality as blocks (block, block_position))
        else message.content::text
    end as text,
    message.content, message.step_seq, message.at
from message;
