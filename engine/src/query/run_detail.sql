select
    run.id as "id!: RunId", run.tenant as "tenant!", run.requester as "requester!",
    run.labels as "labels!: Json<BTreeMap<String, String>>", run.kind as "kind!", run.agent,
    agent_version.version as "agent_version?", run.queue as "queue!", run.priority as "priority!", run.state as "state!",
    run.waiting_for, run.wait_reason, run.due_at, run.deadline_at, run.fence as "fence!: Fence", run.crashes as "crashes!",
    run.cancel_requested_at, run.cancel_requested_by, run.cancel_reason,
    run.paused_at, run.paused_by, run.pause_reason, run.created_at as "created_at!", run.started_at, run.ended_at, run.input::text as "input!",
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
