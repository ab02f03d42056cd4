select agent_version.name, agent_version.version, agent_version.definition::text as "definition!"
from longhaul.agent_version
where agent_version.id = $1
