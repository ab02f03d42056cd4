-- What the server has done so far. Partitions are tables of their own; their parents have no size.
select
    clock_timestamp() as at,
    (pg_catalog.pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint as wal_bytes,
    (
        select coalesce(sum(pg_catalog.pg_total_relation_size(class.oid)), 0)::bigint
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where namespace.nspname in ('longhaul', 'longhaul_bench')
          and class.relkind in ('r', 'm')
    ) as table_bytes,
    (
        select database.xact_commit + database.xact_rollback
        from pg_catalog.pg_stat_database as database
        where database.datname = current_database()
    ) as transactions
