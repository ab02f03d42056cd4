-- Newest first; the id of the last row shown is the cursor of the next page.
select
    run.id as "id: RunId", run.kind, run.agent, agent_version.version as "agent_version?", run.state, run.waiting_for,
    run.wait_reason, run.due_at, run.requester, run.queue, run.labels as "labels: Json<BTreeMap<String, String>>", run.paused_at, run.created_at, run.started_at, run.ended_at,
    worker.name as "worker?", run.parent_id as "parent_id: RunId", run.on_parent_end
from longhaul.run
left join longhaul.agent_version on agent_version.id = run.agent_version_id
left join longhaul.worker on worker.id = run.worker_id
where run.tenant = $1
  and ($2::text is null or run.state = $2)
  and ($3::text is null or run.agent = $3)
  and ($10::text is null or run.kind = $10 and run.kind <> 'agent')
  and run.id < coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  and ($6::text is null or run.requester = $6)
  and run.labels @> $7
  and ($8::timestamptz is null or run.created_at >= $8)
  and ($9::timestamptz is null or run.created_at < $9)
order by run.id desc
limit $5
