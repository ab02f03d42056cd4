select longhaul.cancel_run(run_id => $1, reason => $2, actor => $3, notify => true, children => $4) as "state!"
