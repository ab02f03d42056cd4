-- A worker that has given everything back says goodbye: nothing is left to reclaim.
update longhaul.worker
set closed_at = coalesce($2::timestamptz, now())
where worker.id = $1
  and worker.closed_at is null
