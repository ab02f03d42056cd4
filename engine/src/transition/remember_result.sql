-- Keeps where a result stands, for later calls of the same version of a tool that ask the same. The newest stays.
insert into longhaul.tool_cache (
    tenant, requester, tool_digest, request_digest, run_id, step_seq, recorded_at, expires_at)
select $1, $2, $3, $4, step.run_id, step.seq, step.ended_at, step.ended_at + make_interval(secs => $7::integer)
from longhaul.step
where step.run_id = $5
  and step.seq = $6
  and step.state = 'succeeded'
on conflict (tenant, tool_digest, request_digest, requester) do update
set run_id      = excluded.run_id,
    step_seq    = excluded.step_seq,
    recorded_at = excluded.recorded_at,
    expires_at  = excluded.expires_at
where tool_cache.recorded_at < excluded.recorded_at
