-- Before its child's row: whoever locks both goes from parents to children.
select run.id
from longhaul.run
where run.id = $1
for no key update
