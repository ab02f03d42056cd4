-- A table of the engine's that this transaction has written, by whatever way: each write takes a lock on its table, and
-- keeps it. References to the engine's tables lock rows, and are let through.
select pg_namespace.nspname || '.' || pg_class.relname as "table!"
from pg_locks
join pg_class on pg_class.oid = pg_locks.relation
join pg_namespace on pg_namespace.oid = pg_class.relnamespace
where pg_locks.pid = pg_backend_pid()
  and pg_locks.locktype = 'relation'
  and pg_locks.database = (select pg_database.oid from pg_database where pg_database.datname = current_database())
  and pg_locks.mode not in ('AccessShareLock', 'RowShareLock')
  and pg_namespace.nspname in ('longhaul', 'longhaul_audit')
limit 1
