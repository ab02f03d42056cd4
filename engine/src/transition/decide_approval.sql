select longhaul.decide_approval(
    approval_id => $1,
    verb        => $2,
    words       => $3,
    result      => $4::text::json,
    actor       => $5,
    notify      => true
) as "state!"
