-- What became of calls that were let out; the runs that are to be woken for it.
select longhaul.report_calls(
    run_id    => $1,
    fence     => $2,
    reports   => $3::text::json,
    dead_hold => $4
) as "called!"
