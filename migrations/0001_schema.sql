-- The schema, its cell number, and the functions that everything below leans on.
-- No statement of Longhaul needs session state; every name is schema-qualified.

create schema if not exists longhaul;
create schema if not exists longhaul_audit;

comment on schema longhaul is 'Longhaul: tables, and the public functions that applications call';
comment on schema longhaul_audit is 'Longhaul: the promised read surface';

-- One row. A cell is one database that holds whole runs; its number is part of every run id made here.
create table longhaul.cell (
    id     boolean  not null default true,
    number smallint not null default 0,
    constraint cell_pkey primary key (id),
    constraint cell_is_one_row check (id),
    constraint cell_number_fits_twelve_bits check (number between 0 and 4095)
);

insert into longhaul.cell default values;

-- Values told to callers: SQLSTATE LH4nn as HTTP would say it, and a stable code in the constraint name.
create function longhaul.refuse(state text, code text, message text, hint text default '')
returns void
language plpgsql
as $$
begin
    raise exception using errcode = state, constraint = code, message = message, hint = hint;
end
$$;

-- UUID version 7 (RFC 9562): 48 bits of milliseconds, the cell in the twelve bits after the version, 62 random bits.
-- Of one expression, so that it becomes part of the statement that calls it.
create function longhaul.new_run_id_in(cell smallint)
returns uuid
language sql
volatile
as $$
    select encode(
        substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
        || int2send((28672 + cell)::smallint)
        || substring(uuid_send(gen_random_uuid()) from 9 for 8),
        'hex'
    )::uuid
$$;

create function longhaul.new_run_id()
returns uuid
language sql
volatile
as $$ select longhaul.new_run_id_in(cell.number) from longhaul.cell $$;

-- SHA-256 of the exact text, as engine::payload::digest computes it.
create function longhaul.digest(content text)
returns bytea
language sql
immutable strict parallel safe
as $$ select sha256(convert_to(content, 'UTF8')) $$;

-- Replaces the escape of NUL, which no text in Postgres can hold. A backslash before it that is itself escaped is kept.
create function longhaul.without_nul(payload json)
returns json
language sql
immutable strict parallel safe
as $$
    select case
        when position('\u0000' in payload::text) = 0 then payload
        else regexp_replace(payload::text, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::json
    end
$$;

-- A copy that is safe to query: what jsonb cannot hold is replaced, and if that does not help it is shown as text.
create function longhaul.safe_jsonb(payload json)
returns jsonb
language plpgsql
immutable strict parallel safe
as $$
begin
    return payload::jsonb;
exception when others then
    begin
        return regexp_replace(
            longhaul.without_nul(payload)::text,
            '(?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}', '\1\\ufffd', 'g'
        )::jsonb;
    exception when others then
        return to_jsonb(payload::text);
    end;
end
$$;

-- What is left of a JSON text when its strings are taken out.
create function longhaul.without_strings(payload json)
returns text
language sql
immutable strict parallel safe
as $$ select regexp_replace(payload::text, '"(?:[^"\\]|\\.)*"', '', 'g') $$;

-- Whether a payload nests deeper than the limit: whether anything at that level holds something else.
create function longhaul.is_deeper_than(payload jsonb, depth_max integer)
returns boolean
language sql
immutable strict parallel safe
as $$
    select jsonb_path_exists(
        payload, format('strict $.**{%s} ? (@.type() == "array" || @.type() == "object")', depth_max)::jsonpath)
$$;

-- Whether a payload is certain to be admitted as it is: so short that no number in it is too long, nothing escaped, no
-- long exponent, no more brackets than levels are allowed. Of one expression, so that it becomes part of the statement that calls it.
create function longhaul.is_plain(payload json)
returns boolean
language sql
immutable parallel safe
as $$
    select octet_length(payload::text) <= 8192
       and strpos(payload::text, '\') = 0
       and payload::text !~ '[0-9][eE][+-]?[0-9]{4}'
       and octet_length(payload::text) - octet_length(translate(payload::text, '[{', '')) <= 64
$$;

-- Admits a payload from outside: size, depth, numbers that explode when they are written out, NUL.
create function longhaul.admit(name text, payload json, bytes_max integer)
returns json
language plpgsql
strict
as $$
declare
    admitted json;
begin
    if longhaul.is_plain(payload) and bytes_max >= 8192 then
        return payload;
    end if;
    if octet_length(payload::text) > bytes_max then
        perform longhaul.refuse('LH413', name || '_too_large',
            format('%s has %s bytes, the limit is %s', name, octet_length(payload::text), bytes_max));
    end if;
    if longhaul.without_strings(payload) ~ '[0-9][eE][+-]?[0-9]{4,}' then
        perform longhaul.refuse('LH422', 'invalid_' || name,
            format('%s holds a number with an exponent of more than three digits', name));
    end if;
    admitted := longhaul.without_nul(payload);
    begin
        if not longhaul.is_deeper_than(admitted::jsonb, 64) then
            return admitted;
        end if;
    exception
        -- Nested so deeply that not even the parser follows.
        when statement_too_complex then null;
        when others then
            perform longhaul.refuse('LH422', 'invalid_' || name,
                format('%s is not valid Unicode JSON: %s', name, sqlerrm));
    end;
    perform longhaul.refuse('LH413', name || '_too_deep', format('%s nests deeper than 64 levels', name));
    return admitted;
end
$$;
