-- Breakers: they spare a target that fails. Which calls meet them, and who waits for them, is in 0010_gates.sql;
-- docs/breakers.md tells it to users.

-- The breaker of a tool (`tool:agent.name`) or of a model endpoint (`model:host`). No row: closed, and nothing failed.
create table longhaul.breaker (
    tenant           text        not null,
    scope            text        not null,
    state            text        not null default 'closed',
    -- One more with each change of state. A call's outcome counts only under the one that let it out.
    generation       bigint      not null default 0,
    -- In a row, while closed.
    failures         integer     not null default 0,
    -- As the last call that failed had them.
    failures_max     integer     not null,
    cooldown_seconds integer     not null,
    changed_at       timestamptz not null default now(),
    error_code       text,
    -- While open: from then on a trial call may go out.
    retry_at         timestamptz,
    -- While half open: whose trial call is out.
    trial_run_id     uuid,
    trial_fence      bigint,
    trial_step_seq   integer,
    constraint breaker_pkey primary key (tenant, scope),
    constraint breaker_state check (state in ('closed', 'open', 'half_open')),
    constraint breaker_open_has_a_time check ((state = 'open') = (retry_at is not null)),
    constraint breaker_half_open_has_a_trial check (
        (state = 'half_open') = (trial_run_id is not null) and (trial_run_id is null) = (trial_fence is null))
);

create index breaker_trial_idx on longhaul.breaker (trial_run_id) where trial_run_id is not null;

-- Each change of a breaker's state. Appended, never changed.
create table longhaul.breaker_change (
    tenant     text        not null,
    scope      text        not null,
    generation bigint      not null,
    at         timestamptz not null default clock_timestamp(),
    state      text        not null,
    why        text        not null,
    run_id     uuid,
    step_seq   integer,
    error_code text,
    actor      text,
    reason     text,
    retry_at   timestamptz,
    constraint breaker_change_pkey primary key (tenant, scope, generation),
    constraint breaker_change_why check (
        why in ('failures', 'trial', 'trial_succeeded', 'trial_failed', 'trial_lost', 'reset', 'opened_by_hand'))
);

-- Writes a change of a breaker's state. The caller holds the row's lock and has set all but what is written here.
create function longhaul.change_breaker(
    changed  longhaul.breaker,
    why      text,
    run_id   uuid,
    step_seq integer,
    actor    text,
    reason   text
)
returns void
language plpgsql
as $$
#variable_conflict use_variable
begin
    update longhaul.breaker
    set state            = changed.state,
        generation       = breaker.generation + 1,
        failures         = changed.failures,
        failures_max     = changed.failures_max,
        cooldown_seconds = changed.cooldown_seconds,
        changed_at       = clock_timestamp(),
        error_code       = changed.error_code,
        retry_at         = changed.retry_at,
        trial_run_id     = changed.trial_run_id,
        trial_fence      = changed.trial_fence,
        trial_step_seq   = changed.trial_step_seq
    where breaker.tenant = changed.tenant
      and breaker.scope = changed.scope
    returning breaker.* into changed;
    insert into longhaul.breaker_change (
        tenant, scope, generation, state, why, run_id, step_seq, error_code, actor, reason, retry_at)
    values (
        changed.tenant, changed.scope, changed.generation, changed.state, why, run_id, step_seq,
        case when changed.state = 'open' then changed.error_code end, actor, reason, changed.retry_at);
end
$$;

-- What an outcome does to a breaker: a failure counts against the target, a success takes all counts back, and a trial's
-- decides. An outcome of an earlier generation says nothing of the target as it is now. Answers with runs to be woken.
create function longhaul.note_outcome(
    tenant           text,
    scope            text,
    generation       bigint,
    outcome          text,
    error_code       text,
    failures_max     integer,
    cooldown_seconds integer,
    run_id           uuid,
    step_seq         integer
)
returns uuid[]
language plpgsql
as $$
#variable_conflict use_variable
declare
    guard longhaul.breaker;
begin
    if outcome = 'failed' and generation = 0 then
        insert into longhaul.breaker (tenant, scope, failures_max, cooldown_seconds)
        values (tenant, scope, failures_max, cooldown_seconds)
        on conflict do nothing;
    end if;
    select breaker.* into guard from longhaul.breaker
    where breaker.tenant = note_outcome.tenant and breaker.scope = note_outcome.scope
    for update;
    if not found or guard.generation <> generation or guard.state = 'open' then
        return '{}';
    end if;

    if guard.state = 'closed' then
        if outcome = 'failed' and guard.failures + 1 >= failures_max then
            guard.state := 'open';
            guard.failures := guard.failures + 1;
            guard.error_code := error_code;
            guard.failures_max := failures_max;
            guard.cooldown_seconds := cooldown_seconds;
            guard.retry_at := clock_timestamp() + make_interval(secs => cooldown_seconds);
            perform longhaul.change_breaker(guard, 'failures', run_id, step_seq, null, null);
        elsif outcome = 'failed' or (outcome = 'succeeded' and guard.failures > 0) then
            update longhaul.breaker
            set failures         = case when outcome = 'failed' then breaker.failures + 1 else 0 end,
                failures_max     = note_outcome.failures_max,
                cooldown_seconds = note_outcome.cooldown_seconds,
                error_code       = case when outcome = 'failed' then note_outcome.error_code end
            where breaker.tenant = note_outcome.tenant and breaker.scope = note_outcome.scope;
        end if;
        return '{}';
    end if;

    guard.trial_run_id := null;
    guard.trial_fence := null;
    guard.trial_step_seq := null;
    if outcome = 'succeeded' then
        guard.state := 'closed';
        guard.failures := 0;
        guard.error_code := null;
        perform longhaul.change_breaker(guard, 'trial_succeeded', run_id, step_seq, null, null);
    elsif outcome = 'neutral' then
        -- It said nothing of the target: the next one tries.
        guard.state := 'open';
        guard.retry_at := clock_timestamp();
        perform longhaul.change_breaker(guard, 'trial_lost', run_id, step_seq, null, null);
    else
        guard.state := 'open';
        guard.error_code := error_code;
        guard.cooldown_seconds := cooldown_seconds;
        guard.retry_at := clock_timestamp() + make_interval(secs => cooldown_seconds);
        perform longhaul.change_breaker(guard, 'trial_failed', run_id, step_seq, null, null);
    end if;
    return longhaul.call_waiters(tenant, scope, '');
end
$$;

-- Closes a breaker by hand: calls go out again. Answers with the state that it had. A breaker that never had a failure has
-- no row, and there is nothing to reset.
create function longhaul.reset_breaker(
    scope  text,
    reason text    default null,
    actor  text    default null,
    tenant text    default 'default',
    notify boolean default true
)
returns text
language plpgsql
as $$
#variable_conflict use_variable
declare
    guard longhaul.breaker;
    was   text;
begin
    select breaker.* into guard from longhaul.breaker
    where breaker.tenant = reset_breaker.tenant and breaker.scope = reset_breaker.scope
    for update;
    if not found then
        perform longhaul.refuse('LH404', 'no_such_breaker', format('there is no breaker %L', scope),
            'a breaker is there from the first failure on: longhaul breaker list');
    end if;
    was := guard.state;
    if was = 'closed' and guard.failures = 0 then
        return was;
    end if;
    guard.state := 'closed';
    guard.failures := 0;
    guard.error_code := null;
    guard.retry_at := null;
    guard.trial_run_id := null;
    guard.trial_fence := null;
    guard.trial_step_seq := null;
    perform longhaul.change_breaker(guard, 'reset', null, null, coalesce(actor, session_user), reason);
    perform longhaul.wake_called(longhaul.call_waiters(tenant, scope, ''), false, notify);
    return was;
end
$$;

-- Opens a breaker by hand: no call goes out for so many seconds, then one on trial. Answers with the state that it had.
create function longhaul.open_breaker(
    scope   text,
    seconds integer default 3600,
    reason  text    default null,
    actor   text    default null,
    tenant  text    default 'default',
    notify  boolean default true
)
returns text
language plpgsql
as $$
#variable_conflict use_variable
declare
    guard longhaul.breaker;
    was   text;
begin
    if scope is null or octet_length(scope) > 255 or scope !~ '^(tool:[a-z0-9-]+\.[A-Za-z0-9_-]+|model:[^/\s]+)$' then
        perform longhaul.refuse('LH422', 'invalid_breaker', format('%L is no name of a breaker', scope),
            'they are called tool:AGENT.TOOL and model:HOST');
    end if;
    if seconds is null or seconds not between 1 and 31536000 then
        perform longhaul.refuse('LH422', 'invalid_breaker', 'a breaker is open for 1 to 31536000 seconds');
    end if;
    insert into longhaul.breaker (tenant, scope, failures_max, cooldown_seconds)
    values (tenant, scope, 5, 60)
    on conflict do nothing;
    select breaker.* into guard from longhaul.breaker
    where breaker.tenant = open_breaker.tenant and breaker.scope = open_breaker.scope
    for update;
    was := guard.state;
    guard.state := 'open';
    guard.retry_at := clock_timestamp() + make_interval(secs => seconds);
    guard.trial_run_id := null;
    guard.trial_fence := null;
    guard.trial_step_seq := null;
    guard.error_code := null;
    perform longhaul.change_breaker(guard, 'opened_by_hand', null, null, coalesce(actor, session_user), reason);
    perform longhaul.wake_called(longhaul.call_waiters(tenant, scope, ''), false, notify);
    return was;
end
$$;
