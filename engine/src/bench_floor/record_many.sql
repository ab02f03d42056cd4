-- One step of each of many runs, for the holders of their fences.
with entry as (
    select *
    from unnest($1::uuid[], $2::bigint[], $3::text[]) as entry (run_id, fence, result)
), moved as (
    update longhaul_bench.run
    set seq = run.seq + 1
    from entry
    where run.id = entry.run_id
      and run.fence = entry.fence
    returning run.id, run.seq, entry.result
)
insert into longhaul_bench.step (run_id, seq, state, result, ended_at)
select moved.id, moved.seq, 'succeeded', moved.result::json, now()
from moved
