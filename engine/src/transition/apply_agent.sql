-- Stores a version under its content's digest, if it is new, and makes it the one that new runs get.
with known as (
    select agent_version.id, agent_version.version
    from longhaul.agent_version
    where agent_version.tenant = $1
      and agent_version.name = $2
      and agent_version.digest = $4
), added as (
    insert into longhaul.agent_version (tenant, name, version, definition, digest, functions)
    select
        $1, $2,
        coalesce((
            select max(agent_version.version)
            from longhaul.agent_version
            where agent_version.tenant = $1
              and agent_version.name = $2), 0) + 1,
        $3::text::json, $4, $5
    where not exists (select from known)
    returning agent_version.id, agent_version.version
), chosen as (
    select known.id, known.version, false as added from known
    union all
    select added.id, added.version, true from added
), pointed as (
    insert into longhaul.agent (tenant, name, version_id)
    select $1, $2, chosen.id
    from chosen
    on conflict (tenant, name) do update
    set version_id = excluded.version_id,
        applied_at = now()
    where agent.version_id <> excluded.version_id
    returning agent.name
)
select chosen.version as "version!", chosen.added as "added!", exists (select from pointed) as "changed!"
from chosen
