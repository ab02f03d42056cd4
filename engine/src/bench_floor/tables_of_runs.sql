-- Every table whose rows belong to runs, but for the parts of one that is partitioned.
select format('delete from %I.%I where run_id = any ($1)', namespace.nspname, class.relname)
from pg_catalog.pg_class as class
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid
where namespace.nspname = 'longhaul'
  and class.relkind in ('r', 'p')
  and not class.relispartition
  and attribute.attname = 'run_id'
  and not attribute.attisdropped
order by class.relname
