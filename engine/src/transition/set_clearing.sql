-- A worker says that it takes suspects only, or that it takes other runs again.
update longhaul.worker
set clearing = $2
where worker.id = $1
  and worker.closed_at is null
