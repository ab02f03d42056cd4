select longhaul.start_child(
    parent        => $1,
    parent_fence  => $2,
    key           => $3,
    kind          => $4,
    agent         => $5,
    input         => $6::text::json,
    queue         => $7,
    priority      => $8,
    labels        => $9,
    on_parent_end => $10
) as "run!: RunId"
