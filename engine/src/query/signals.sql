-- What has come for a run's waits: of each name the oldest signals after the last one that was taken, no more than there
-- are waits of that name.
select
    signal.name,
    signal.wake,
    signal.id,
    signal.sender,
    signal.payload::text as "payload!"
from unnest($2::text[], $3::bigint[], $4::bigint[]) as wanted (name, taken, most)
cross join lateral (
    select signal.*
    from longhaul.signal
    where signal.run_id = $1
      and signal.name = wanted.name
      and signal.wake > wanted.taken
    order by signal.wake
    limit wanted.most
) as signal
order by signal.wake
