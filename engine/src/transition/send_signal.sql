select sent.signal_id as "id!", sent.created as "created!"
from longhaul.send_signal(
    run_id    => $1,
    name      => $2,
    payload   => $3::text::json,
    signal_id => $4,
    sender    => $5,
    notify    => true
) as sent
