-- Keeps a result that came too late. It names no fence in its where: nothing is applied.
insert into longhaul.late_result (run_id, step_seq, attempt, worker_id, fence, outcome)
values ($1, $2, $3, $4, $5, $6::text::json)
on conflict do nothing
