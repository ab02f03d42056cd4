-- In the transaction that took the runs back, whose locks it holds.
select longhaul.free_slots(run_ids => $1) as "called!"
