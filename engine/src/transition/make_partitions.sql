-- Makes the partitions of the months ahead, and moves what had fallen into the default ones. No row: all are there.
select made.month as "month!", made.outcome as "outcome!"
from longhaul.make_partitions(months_ahead => $1) as made
order by made.month
