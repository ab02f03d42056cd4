-- Which of these calls may go out now. Null: the run has moved on.
select longhaul.admit_calls(
    run_id    => $1,
    fence     => $2,
    calls     => $3::text::json,
    dead_hold => $4
)::text as answers
