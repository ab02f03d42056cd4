select started.run_id as "run_id!: RunId", started.created as "created!"
from longhaul.start_run(
    agent           => $1,
    input           => $2::text::json,
    kind            => $12,
    queue           => $3,
    priority        => $4,
    due_at          => $5,
    deadline_at     => $6,
    requester       => $7,
    tenant          => $8,
    labels          => $9,
    idempotency_key => $10,
    history         => $11::text::json,
    notify          => true
) as started
