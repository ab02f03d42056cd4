select longhaul.cancel_children(parent => $1, reason => $2, actor => $3)::text
