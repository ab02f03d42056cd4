select
    run.id as "id: RunId", run.tenant, run.requester, run.labels as "labels: Json<BTreeMap<String, String>>", run.kind,
    run.agent, agent_version.version as "agent_version?", run.queue, run.priority, run.state, run.waiting_for,
    run.wait_reason, run.due_at, run.deadline_at, run.fence as "fence: Fence", run.crashes, run.cancel_requested_at,
    run.paused_at, run.created_at, run.started_at, run.ended_at, run.input::text as "input!",
    run.result::text as result, run.error::text as error, worker.name as "worker?"
from longhaul.run
left join longhaul.agent_version on agent_version.id = run.agent_version_id
left join longhaul.worker on worker.id = run.worker_id
where run.id = $1
