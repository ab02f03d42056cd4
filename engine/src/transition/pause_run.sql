select longhaul.pause_run(run_id => $1, reason => $2, actor => $3, notify => true) as "state!"
