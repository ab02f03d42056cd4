-- A worker's row for one process start, with its first lease.
insert into longhaul.worker (id, name, kinds, functions, queues, started_at, lease_expires_at)
values (
    $1, $2, $3, $4, $5,
    coalesce($7::timestamptz, now()),
    coalesce($7::timestamptz, now()) + make_interval(secs => $6::double precision / 1000))
