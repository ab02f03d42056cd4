-- One step of one run, for the holder of its fence.
with moved as (
    update longhaul_bench.run
    set seq = run.seq + 1
    where run.id = $1
      and run.fence = $2
    returning run.id, run.seq
)
insert into longhaul_bench.step (run_id, seq, state, result, ended_at)
select moved.id, moved.seq, 'succeeded', $3::text::json, now()
from moved
