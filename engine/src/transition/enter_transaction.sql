-- For the rest of the transaction. The role comes last: it may set less than the one before.
-- Names are never looked up among the engine's own, as they would be first of all for a role that is called longhaul.
select
    set_config('statement_timeout', $1, true) as "timeout!",
    set_config('search_path', coalesce($2, (
        select coalesce(string_agg(quote_ident(named.schema), ', ' order by named.n), '')
        from unnest(current_schemas(false)) with ordinality as named (schema, n)
        where named.schema not in ('longhaul', 'longhaul_audit')
    )), true) as "search_path!",
    set_config('plan_cache_mode', 'auto', true) as "plan_cache_mode!",
    set_config('enable_seqscan', 'on', true) as "enable_seqscan!",
    set_config('enable_hashjoin', 'on', true) as "enable_hashjoin!",
    set_config('enable_mergejoin', 'on', true) as "enable_mergejoin!",
    set_config('role', coalesce($3, current_setting('role')), true) as "role!"
