select started.item as "item!", started.run_id as "run_id!: RunId", started.created as "created!"
from longhaul.start_runs(
    runs      => $1::text::json,
    inputs    => $2::text[]::json[],
    histories => $3::text[]::json[],
    tenant    => $4,
    notify    => true
) as started
