-- In a transaction that holds the run's lock.
select longhaul.cancel_below(run_id => $1, reason => $2, actor => $3, most => $4) as "cancelled!"
