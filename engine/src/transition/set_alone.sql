-- A worker says that it makes room for a run that must be driven alone, or that it takes others again.
update longhaul.worker
set alone = $2
where worker.id = $1
  and worker.closed_at is null
