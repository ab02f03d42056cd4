-- Ends a run. A run whose cancel was requested ends as cancelled and not otherwise.
-- No row: the fence has moved on, or a cancel came in between; nothing was written.
with ended as (
    update longhaul.run
    set state        = $4,
        result       = $5::text::json,
        error        = $6::text::json,
        worker_id    = null,
        paused_at    = null,
        paused_by    = null,
        pause_reason = null,
        ended_at     = coalesce($8::timestamptz, now()),
        event_seq    = $3 + 1
    where run.id = $1
      and run.fence = $2
      and run.state = 'running'
      and (run.cancel_requested_at is not null) = ($4 = 'cancelled')
    returning run.id, run.cancel_requested_by, run.cancel_reason
)
insert into longhaul.event (run_id, seq, kind, worker_id, fence, at, data)
select
    ended.id, $3 + 1, 'run.' || $4, $7, $2, coalesce($8::timestamptz, now()),
    case $4
        when 'failed' then $6::text::json
        when 'cancelled' then json_build_object('by', ended.cancel_requested_by, 'reason', ended.cancel_reason)
    end
from ended
returning event.seq
