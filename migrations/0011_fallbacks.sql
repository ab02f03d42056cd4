-- Calls that failed for good and are answered in another way: by an earlier result, by another call, by a person.

-- Where earlier results of tools that change nothing stand, for later calls of the same version of the tool that ask the
-- same. A hint: what is lost of it costs a call. It refers to runs without a foreign key, and what is gone with its run is
-- not found any more. Upkeep keeps it small.
create table longhaul.tool_cache (
    tenant         text        not null,
    -- Empty where results are told to all of the tenant.
    requester      text        not null,
    tool_digest    bytea       not null,
    request_digest bytea       not null,
    run_id         uuid        not null,
    step_seq       integer     not null,
    recorded_at    timestamptz not null,
    expires_at     timestamptz not null,
    constraint tool_cache_pkey primary key (tenant, tool_digest, request_digest, requester)
);

create index tool_cache_expiry_idx on longhaul.tool_cache (expires_at);

-- How soon somebody should look.
alter table longhaul.approval add column priority text not null default 'normal';
alter table longhaul.approval add constraint approval_priority check (priority in ('low', 'normal', 'high'));

-- Asks whether a call that failed for certain is to be made once more: a step that waits, and was never sent, in the place
-- of the one that failed. The caller holds the run's lock, or has just written the run.
create function longhaul.open_escalation(run_id uuid, step_seq integer)
returns void
language plpgsql
as $$
#variable_conflict use_variable
declare
    asked_run   longhaul.run;
    asked_step  longhaul.step;
    failed_step longhaul.step;
    person      json;
begin
    select run.* into asked_run from longhaul.run where run.id = open_escalation.run_id;
    select step.* into asked_step from longhaul.step
    where step.run_id = open_escalation.run_id and step.seq = open_escalation.step_seq;
    select step.* into failed_step from longhaul.step
    where step.run_id = open_escalation.run_id and step.seq = asked_step.replaces_seq;
    select fallback.entry -> 'person'
    into person
    from longhaul.agent_version
    cross join json_array_elements(agent_version.definition -> 'tools') as declared (tool)
    cross join json_array_elements(declared.tool -> 'fallback') as fallback (entry)
    where agent_version.id = asked_run.agent_version_id
      and declared.tool ->> 'name' = asked_step.name
      and fallback.entry -> 'person' is not null;
    insert into longhaul.approval (run_id, step_seq, attempt, fence, reason, verbs, priority, summary)
    values (run_id, step_seq, asked_step.attempt, asked_run.fence, 'retries_exhausted', '{approve,reject}',
        coalesce(person ->> 'priority', 'normal'),
        format('Step %s, %s, failed and did nothing: %s.%s Shall it be called once more?', asked_step.replaces_seq,
            asked_step.name, coalesce(failed_step.error ->> 'message', 'nobody knows why'),
            coalesce(' ' || (person ->> 'note'), '')))
    on conflict do nothing;
end
$$;

create or replace view longhaul_audit.approval as
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
          and late.step_seq = approval.step_seq) as late_results,
    approval.priority
from longhaul.approval
join longhaul.run on run.id = approval.run_id
left join longhaul.step on step.run_id = approval.run_id and step.seq = approval.step_seq;

-- Results that did not come about by the plain call that the model asked for, and those of tools with a cache: what the
-- model was told of it. replaces_seq is the step that failed.
create view longhaul_audit.fallback as
select
    labelled.run_id, labelled.seq, labelled.turn, labelled.name as tool, labelled.state, labelled.replaces_seq,
    labelled.label ->> 'source' as source, (labelled.label ->> 'age_seconds')::bigint as age_seconds,
    coalesce((labelled.label ->> 'simplified')::boolean, false) as simplified,
    coalesce((labelled.label ->> 'sampled')::boolean, false) as sampled,
    (labelled.label ->> 'target_rows')::bigint as target_rows,
    coalesce((labelled.label ->> 'escalated')::boolean, false) as escalated,
    (labelled.label ->> 'approval')::uuid as approval_id, labelled.label ->> 'because' as because,
    labelled.label ->> 'warning' as warning, labelled.label ->> 'note' as note, labelled.ended_at
from (
    select step.*, longhaul.safe_jsonb(step.result) -> 'label' as label
    from longhaul.step
    where step.kind = 'tool'
      and step.result is not null
) as labelled
where labelled.label is not null;
