select
    run.id as "id!: RunId", run.tenant as "tenant!", run.requester as "requester!",
    run.labels as "labels!: Json<BTreeMap<String, String>>", run.kind as "kind!", run.agent,
    agent_version.version as "agent_version?", run.queue as "queue!", run.priority as "priority!", run.state as "state!",
    run.waiting_for, run.wait_reason, run.due_at, run.deadline_at, run.fence as "fence!: Fence", run.crashes as "crashes!",
    run.cancel_requested_at, run.cancel_requested_by, run.cancel_reason,
    run.paused_at, run.paused_by, run.pause_reason, run.created_at as "created_at!", run.started_at, run.ended_at, run.input::text as "input!",
    run.parent_id as "parent_id: RunId", coalesce(run.tree_id, run.id) as "tree_id!: RunId", run.on_parent_end,
    case when run.waiting_for = 'signal' then array(
        select step.name
        from longhaul.step
        where step.run_id = run.id
          and step.kind = 'signal'
          and step.state = 'waiting'
        order by step.seq
    ) else '{}' end as "awaited_signals!",
    run.result::text as result, run.error::text as error, worker.name as "worker?",
    exists (
        select from longhaul.worker as live
        where live.closed_at is null
          and live.lease_expires_at > now()
          and run.queue = any (live.queues)
          and run.kind = any (live.kinds)
          and run.functions <@ live.functions
    ) as "drivable!"
from longhaul.run
left join longhaul.agent_version on agent_version.id = run.agent_version_id
left join longhaul.worker on worker.id = run.worker_id
where run.id = $1
