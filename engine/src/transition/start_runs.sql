select started.item as "item!", started.run_id as "run_id!: RunId", started.created as "created!"
from longhaul.start_all(
    tenant     => $1,
    kinds      => $2,
    agents     => $3,
    queues     => $4,
    priorities => $5,
    dues       => $6,
    deadlines  => $7,
    requesters => $8,
    labels     => $9::text[]::jsonb[],
    keys       => $10,
    inputs     => $11::text[]::json[],
    histories  => $12::text[]::json[],
    notify     => true
) as started
