-- In a transaction after the one that called them: locks go from runs to gates.
select longhaul.wake_called(run_ids => $1, may_wait => true, notify => true)::text as woken
