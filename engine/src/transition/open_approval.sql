-- Asks people about steps, and, where there is a null, about the run.
select longhaul.open_approval($1, asked.seq)::text as asked
from unnest($2::integer[]) as asked (seq)
