-- What is new in each of many runs, one statement for all who follow them.
select
    new.run_id as "run_id!: RunId", new.seq as "seq!", new.at as "at!", new.kind as "kind!", new.step_seq, new.worker,
    new.data as "data: Json<Box<RawValue>>"
from unnest($1::uuid[], $2::integer[]) as followed (run_id, after_seq)
cross join lateral (
    select event.*
    from longhaul_audit.event
    where event.run_id = followed.run_id
      and event.seq > followed.after_seq
    order by event.seq
    limit $3
) as new
order by new.run_id, new.seq
