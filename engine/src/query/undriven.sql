-- Runs that a worker holds and does not know of: the answer to its claim was lost.
select run.id as "id: RunId", run.fence as "fence: Fence", run.event_seq
from longhaul.run
where run.worker_id = $1
  and run.state = 'running'
  and run.id <> all ($2)
