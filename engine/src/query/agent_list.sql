select
    agent_version.name, agent_version.version, agent_version.digest, agent.applied_at,
    agent_version.definition::text as "definition!"
from longhaul.agent
join longhaul.agent_version on agent_version.id = agent.version_id
where agent.tenant = $1
  and ($2::text is null or agent.name = $2)
order by agent.name
