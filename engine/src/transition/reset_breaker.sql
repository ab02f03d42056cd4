select longhaul.reset_breaker(scope => $1, reason => $2, actor => $3, tenant => $4, notify => true) as "was!"
