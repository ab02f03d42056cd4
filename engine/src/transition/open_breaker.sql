select longhaul.open_breaker(
    scope   => $1,
    seconds => $2,
    reason  => $3,
    actor   => $4,
    tenant  => $5,
    notify  => true
) as "was!"
