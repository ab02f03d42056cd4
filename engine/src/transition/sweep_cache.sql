-- Forgets a batch of what is of no use any more: results beyond their time, and the soonest to be among too many.
with doomed as (
    select tool_cache.tenant, tool_cache.tool_digest, tool_cache.request_digest, tool_cache.requester
    from longhaul.tool_cache
    where tool_cache.expires_at <= greatest(coalesce($3::timestamptz, now()), (
        select beyond.expires_at
        from longhaul.tool_cache as beyond
        order by beyond.expires_at desc
        offset $1
        limit 1))
    order by tool_cache.expires_at
    limit $2
    for update skip locked
), forgotten as (
    delete from longhaul.tool_cache
    using doomed
    where tool_cache.tenant = doomed.tenant
      and tool_cache.tool_digest = doomed.tool_digest
      and tool_cache.request_digest = doomed.request_digest
      and tool_cache.requester = doomed.requester
    returning 1
)
select count(*) as "forgotten!"
from forgotten
