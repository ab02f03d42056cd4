-- An agent's editions, newest first.
select
    agent_version.version, agent_version.digest, agent_version.created_at, agent_version.created_by,
    agent.version_id is not null as "is_current!", agent_version.definition::text as "definition!"
from longhaul.agent_version
left join longhaul.agent on agent.version_id = agent_version.id and agent.tenant = agent_version.tenant
where agent_version.tenant = $1
  and agent_version.name = $2
  and ($3::integer is null or agent_version.version = $3)
  and ($4::integer is null or agent_version.version < $4)
order by agent_version.version desc
limit $5
