-- Calls waiters that nobody else did; the runs that are to be woken for it.
select longhaul.tend_gates(most => $1, dead_hold => $2) as "called!"
