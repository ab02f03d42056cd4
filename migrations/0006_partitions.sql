-- Runs and all that is theirs lie in partitions of a month each (UTC), by the time in the run's id.
-- A run's rows are all of one month, however long it lives (docs/decisions/0010-partitions.md).

-- The lowest run id of an instant: the bound of a partition.
create function longhaul.first_run_id(at timestamptz)
returns uuid
language sql
immutable strict parallel safe
as $$
    select encode(
        substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) || '\x00000000000000000000'::bytea, 'hex')::uuid
$$;

-- The month of a run id, in UTC.
create function longhaul.run_month(run_id uuid)
returns date
language sql
immutable strict parallel safe
as $$
    select date_trunc('month', to_timestamp(
        ('x' || left(translate(run_id::text, '-', ''), 12))::bit(48)::bigint / 1000) at time zone 'UTC')::date
$$;

-- Every partitioned table, and the column that holds the run's id.
create function longhaul.partitioned_tables()
returns table (name text, key text)
language sql
immutable parallel safe
as $$
    values ('run', 'id'), ('step', 'run_id'), ('attempt', 'run_id'), ('event', 'run_id'), ('request', 'run_id'),
        ('signal', 'run_id'), ('approval', 'run_id'), ('late_result', 'run_id')
$$;

-- How full the pages of a partition are filled. A run changes a few times while others are added. A step that has an
-- intent gets its end within moments, in a second version of its row: on the same page that needs no index entry, and half
-- of the log. More room would save more of the log, and keep more of the disk empty where steps have no intents.
create function longhaul.room_in(parent text)
returns text
language sql
immutable parallel safe
as $$ select case parent when 'run' then ' with (fillfactor = 80)' when 'step' then ' with (fillfactor = 65)' else '' end $$;

-- Names a partition's indexes after their parents: run_claim_idx is run_2026_11_claim_idx there.
create function longhaul.name_indexes(parent text, partition text)
returns void
language plpgsql
as $$
declare
    index record;
begin
    for index in
        select child.relname as old_name, partition || substring(above.relname from length(parent) + 1) as new_name
        from pg_catalog.pg_index
        join pg_catalog.pg_class as child on child.oid = pg_index.indexrelid
        join pg_catalog.pg_inherits on pg_inherits.inhrelid = child.oid
        join pg_catalog.pg_class as above on above.oid = pg_inherits.inhparent
        where pg_index.indrelid = format('longhaul.%I', partition)::regclass
    loop
        if index.old_name <> index.new_name then
            execute format('alter index longhaul.%I rename to %I', index.old_name, index.new_name);
        end if;
    end loop;
end
$$;

-- Months from this one on that have no partition, and older ones of which rows fell into the default partitions.
create function longhaul.missing_months(months_ahead integer)
returns date[]
language plpgsql
stable
as $$
declare
    next_id   uuid;
    this      date := date_trunc('month', now() at time zone 'UTC');
    last      date := this + make_interval(months => months_ahead);
    months    date[];
    partition record;
    found_id  uuid;
begin
    months := array(select month::date from generate_series(this, last, '1 month') as month);
    for partition in
        select name || '_default' as name, key
        from longhaul.partitioned_tables()
        where has_table_privilege(format('longhaul.%I', name || '_default'), 'select')
    loop
        -- No run id that longhaul.new_run_id made is older. Others stay where they are.
        next_id := longhaul.first_run_id('2020-01-01 00:00Z');
        loop
            execute format('select %1$I from longhaul.%2$I where %1$I >= $1 order by %1$I limit 1',
                partition.key, partition.name)
            into found_id using next_id;
            exit when found_id is null or longhaul.run_month(found_id) > last;
            months := months || longhaul.run_month(found_id);
            next_id := longhaul.first_run_id(
                (longhaul.run_month(found_id) + interval '1 month')::timestamp at time zone 'UTC');
        end loop;
    end loop;
    return array(
        select distinct month
        from unnest(months) as month
        where to_regclass('longhaul.run_' || to_char(month, 'YYYY_MM')) is null
        order by month);
end
$$;

-- The partitions that these months need, one row for each table and month.
create function longhaul.places_of(months date[])
returns table (parent text, key text, partition text, first_id uuid, next_id uuid)
language sql
stable
as $$
    select
        parent.name, parent.key, parent.name || '_' || to_char(month, 'YYYY_MM'),
        longhaul.first_run_id(month::timestamp at time zone 'UTC'),
        longhaul.first_run_id((month + interval '1 month')::timestamp at time zone 'UTC')
    from unnest(months) as month
    cross join longhaul.partitioned_tables() as parent
$$;

-- Makes the partitions that are missing, from this month to so many months ahead, and moves what had fallen into the
-- default ones. One row for each month that was missing, and what came of it:
--   made            it is there now
--   busy            somebody else is making it, or has used a default partition for longer than we wait: call again
--   not_permitted   it takes the owner of the tables: the default partitions catch what comes
--   too_many_rows   the default partitions hold more than rows_max: they are moved by hand, see docs/operations.md
-- All of it or nothing. Tables are made aside and attached, so writers wait for the moment of attaching alone, and we wait
-- no longer than lock_timeout to begin it. Nothing rests on the lock of longhaul.run but that callers do not collide.
create function longhaul.make_partitions(months_ahead integer default 2, rows_max bigint default 10000)
returns table (month date, outcome text)
language plpgsql
set lock_timeout = '100ms'
as $$
#variable_conflict use_column
declare
    months    date[];
    place     record;
    rows_held bigint;
    rows_all  bigint := 0;
begin
    months := longhaul.missing_months(make_partitions.months_ahead);
    if cardinality(months) = 0 then
        return;
    end if;

    lock table longhaul.run in share update exclusive mode;
    -- Whoever held the lock may have made them.
    months := longhaul.missing_months(make_partitions.months_ahead);
    for place in select name || '_default' as name from longhaul.partitioned_tables() loop
        execute format('select count(*) from (select from longhaul.%I limit $1) as held', place.name)
        into rows_held using rows_max + 1;
        rows_all := rows_all + rows_held;
    end loop;
    if rows_all > rows_max then
        return query select missing, 'too_many_rows' from unnest(months) as missing;
        return;
    end if;

    for place in select * from longhaul.places_of(months) loop
        execute format('create table longhaul.%I (like longhaul.%I including all)%s',
            place.partition, place.parent, longhaul.room_in(place.parent));
        -- Whoever is a member of the owner's role may call this; what comes later needs one owner of all.
        execute format('alter table longhaul.%I owner to %s', place.partition, (
            select relowner::regrole from pg_catalog.pg_class
            where pg_class.oid = format('longhaul.%I', place.parent)::regclass));
    end loop;
    -- From here on nobody writes past us into a month that is about to have its table.
    lock table longhaul.run_default, longhaul.step_default, longhaul.attempt_default, longhaul.event_default,
        longhaul.request_default, longhaul.signal_default, longhaul.approval_default, longhaul.late_result_default
        in access exclusive mode;
    for place in select * from longhaul.places_of(months) loop
        execute format(
            'with moved as (delete from longhaul.%1$I where %2$I >= %3$L and %2$I < %4$L returning *)'
            ' insert into longhaul.%5$I select * from moved',
            place.parent || '_default', place.key, place.first_id, place.next_id, place.partition);
        execute format('alter table longhaul.%I attach partition longhaul.%I for values from (%L) to (%L)',
            place.parent, place.partition, place.first_id, place.next_id);
        perform longhaul.name_indexes(place.parent, place.partition);
    end loop;
    return query select missing, 'made' from unnest(months) as missing;
exception
    when lock_not_available then
        return query select missing, 'busy' from unnest(months) as missing;
    when insufficient_privilege then
        return query select missing, 'not_permitted' from unnest(months) as missing;
end
$$;

create table longhaul.run_default         partition of longhaul.run default with (fillfactor = 80);
create table longhaul.step_default        partition of longhaul.step default with (fillfactor = 65);
create table longhaul.attempt_default     partition of longhaul.attempt default;
create table longhaul.event_default       partition of longhaul.event default;
create table longhaul.request_default     partition of longhaul.request default;
create table longhaul.signal_default      partition of longhaul.signal default;
create table longhaul.approval_default    partition of longhaul.approval default;
create table longhaul.late_result_default partition of longhaul.late_result default;

do $$
begin
    perform longhaul.name_indexes(name, name || '_default') from longhaul.partitioned_tables();
    perform longhaul.make_partitions();
end
$$;
