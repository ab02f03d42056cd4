-- A run's children, oldest first; the id of the last row shown is the cursor of the next page.
select
    run.id as "id: RunId", run.kind, run.agent, agent_version.version as "agent_version?", run.state, run.waiting_for,
    run.wait_reason, run.due_at, run.requester, run.queue, run.labels as "labels: Json<BTreeMap<String, String>>", run.paused_at, run.created_at, run.started_at, run.ended_at,
    worker.name as "worker?", run.parent_id as "parent_id: RunId", run.on_parent_end
from longhaul.run
left join longhaul.agent_version on agent_version.id = run.agent_version_id
left join longhaul.worker on worker.id = run.worker_id
where run.parent_id = $1
  and run.id > $2
order by run.id
limit $3
