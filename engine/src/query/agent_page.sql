select
    agent.name, agent_version.version, agent_version.digest, agent.applied_at,
    agent_version.definition ->> 'description' as description
from longhaul.agent
join longhaul.agent_version on agent_version.id = agent.version_id
where agent.tenant = $1
  and agent.name > $2
order by agent.name
limit $3
