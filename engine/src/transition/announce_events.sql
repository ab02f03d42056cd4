-- Tells followers, a transaction of its own. It is only a hint, so nobody waits for the disk.
select pg_notify('longhaul_event', hint.runs), set_config('synchronous_commit', 'off', true)
from unnest($1::text[]) as hint (runs)
