-- The first statement of reclaiming: a worker whose lease has expired can extend it no more.
update longhaul.worker
set closed_at = coalesce($1::timestamptz, now())
where worker.id in (
    select expired.id
    from longhaul.worker as expired
    where expired.closed_at is null
      and expired.lease_expires_at <= coalesce($1::timestamptz, now())
    for update skip locked)
returning worker.id as "id: WorkerId", worker.name
