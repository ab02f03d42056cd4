-- An earlier result that is no older than told. A result whose run is gone is gone with it.
select
    step.result::text as "result!",
    extract(epoch from coalesce($6::timestamptz, now()) - tool_cache.recorded_at)::double precision as "age_seconds!"
from longhaul.tool_cache
join longhaul.step on step.run_id = tool_cache.run_id
                  and step.seq = tool_cache.step_seq
                  and step.state = 'succeeded'
where tool_cache.tenant = $1
  and tool_cache.requester = $2
  and tool_cache.tool_digest = $3
  and tool_cache.request_digest = $4
  and tool_cache.recorded_at >= coalesce($6::timestamptz, now()) - make_interval(secs => $5::integer)
