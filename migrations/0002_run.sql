-- Agents, workers, runs and their journal.
-- Keys lead with the run id, no table refers to another run, and nothing takes numbers from a global sequence:
-- whole runs can live in cells of their own (docs/decisions/0003-cells.md).

create table longhaul.agent_version (
    id         uuid        not null default gen_random_uuid(),
    tenant     text        not null,
    name       text        not null,
    version    integer     not null,
    definition json        not null,
    digest     bytea       not null,
    functions  text[]      not null,
    created_at timestamptz not null default now(),
    created_by text        not null default session_user,
    constraint agent_version_pkey primary key (id),
    constraint agent_version_number_key unique (tenant, name, version),
    constraint agent_version_digest_key unique (tenant, name, digest)
);

-- Which version a new run gets. Applying an earlier content again moves it back.
create table longhaul.agent (
    tenant     text        not null,
    name       text        not null,
    version_id uuid        not null,
    applied_at timestamptz not null default now(),
    constraint agent_pkey primary key (tenant, name),
    constraint agent_version_fkey foreign key (version_id) references longhaul.agent_version (id)
);

-- One row per process start. The database clock alone judges the lease.
create table longhaul.worker (
    id               uuid        not null,
    name             text        not null,
    kinds            text[]      not null,
    functions        text[]      not null,
    queues           text[]      not null,
    started_at       timestamptz not null default now(),
    lease_expires_at timestamptz not null,
    -- It makes room for suspects, or drives some and nothing else: no other busy worker need do the same.
    clearing         boolean     not null default false,
    closed_at        timestamptz,
    constraint worker_pkey primary key (id)
);

create index worker_open_idx on longhaul.worker (lease_expires_at) where closed_at is null;

-- What a column may hold. Types, since a statement that writes reads every check of its tables anew each time that it is
-- sent, and lists of words are the longest of them: a domain's are read once a connection.
create domain longhaul.run_state as text check (
    value in ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled'));
create domain longhaul.waited_for as text check (
    value in ('timer', 'signal', 'approval', 'child', 'limit', 'probe'));
create domain longhaul.on_parent_end as text check (value in ('cancel', 'abandon'));
create domain longhaul.step_kind as text check (
    value in ('model', 'tool', 'probe', 'task', 'timer', 'signal', 'child', 'approval', 'compaction', 'check'));
create domain longhaul.step_state as text check (
    value in ('waiting', 'running', 'succeeded', 'failed', 'cancelled', 'unknown'));
create domain longhaul.step_effect as text check (
    value in ('read_only', 'idempotent', 'transactional', 'at_most_once'));

-- Runs and all that is theirs lie in partitions of a month each, by the time in the run's id: 0006_partitions.sql.
create table longhaul.run (
    id                  uuid        not null,
    tenant              text        not null,
    requester           text        not null,
    labels              jsonb       not null,
    kind                text        not null,
    agent               text,
    agent_version_id    uuid,
    functions           text[]      not null,
    queue               text        not null,
    priority            smallint    not null,
    state               longhaul.run_state not null,
    waiting_for         longhaul.waited_for,
    wait_reason         text,
    due_at              timestamptz,
    deadline_at         timestamptz,
    -- Whoever started the run set it; otherwise its agent's limits did.
    deadline_is_callers boolean     not null default false,
    worker_id           uuid,
    fence               bigint      not null default 0,
    wakes               bigint      not null default 0,
    event_seq           integer     not null,
    crashes             integer     not null default 0,
    resumed_fence       bigint      not null default 0,
    paused_at           timestamptz,
    paused_by           text,
    pause_reason        text,
    cancel_requested_at timestamptz,
    cancel_requested_by text,
    cancel_reason       text,
    -- Of a child: who started it, the run that the whole tree began with, how far below that it is, and what becomes of
    -- it when its parent ends.
    parent_id           uuid,
    tree_id             uuid,
    depth               smallint    not null default 0,
    on_parent_end       longhaul.on_parent_end,
    -- It has, or may have, children that are to end with it and were not told to.
    ends_children       boolean     not null default false,
    created_at          timestamptz not null default now(),
    started_at          timestamptz,
    ended_at            timestamptz,
    input               json        not null,
    history             json,
    result              json,
    error               json,
    constraint run_pkey primary key (id),
    constraint run_held_only_while_running check ((state = 'running') = (worker_id is not null)),
    constraint run_ended_has_a_time check ((state in ('succeeded', 'failed', 'cancelled')) = (ended_at is not null)),
    constraint run_pause_is_whole check (paused_at is not null or (paused_by is null and pause_reason is null)),
    constraint run_times_are_finite check (isfinite(due_at) and isfinite(deadline_at)),
    constraint run_queued_is_due check (state <> 'queued' or due_at is not null),
    constraint run_waiting_says_what_for check ((state = 'waiting') = (waiting_for is not null)),
    constraint run_child_knows_its_tree check (
        (parent_id is null) = (tree_id is null) and (parent_id is null) = (on_parent_end is null)
        and (parent_id is null) = (depth = 0)),
    constraint run_of_an_agent_has_its_version check ((kind = 'agent') = (agent_version_id is not null))
) partition by range (id);

create index run_claim_idx on longhaul.run (queue, priority, due_at, id) where state = 'queued' and paused_at is null;
create index run_suspect_idx on longhaul.run (queue, due_at) where state = 'queued' and paused_at is null and crashes >= 2;
create index run_due_idx on longhaul.run (due_at) where state = 'queued' and paused_at is null;
create index run_wake_idx on longhaul.run (due_at)
    where state = 'waiting' and paused_at is null and due_at is not null;
create index run_held_idx on longhaul.run (worker_id) where worker_id is not null;
-- Of those that are held, the few whose holder is told something: each extension of a lease asks for them.
create index run_attention_idx on longhaul.run (worker_id)
    where worker_id is not null and (cancel_requested_at is not null or paused_at is not null or wakes > 0);
create index run_child_idx on longhaul.run (parent_id, id) where parent_id is not null;
create index run_open_child_idx on longhaul.run (parent_id) where parent_id is not null and ended_at is null;
-- Those that are over, or are to be.
create index run_ends_children_idx on longhaul.run (id)
    where ends_children and (ended_at is not null or cancel_requested_at is not null);
create index run_list_idx on longhaul.run (tenant, id);

-- One run per idempotency key and tenant. The digest keeps the index entry small whatever the key.
create table longhaul.run_key (
    tenant     text  not null,
    key_digest bytea not null,
    run_id     uuid  not null,
    constraint run_key_pkey primary key (tenant, key_digest)
);

-- The row holds the newest attempt; earlier ones are in longhaul.attempt.
-- What never changes comes first: as far as a row's new version is the same as the old one on its page, it is not logged.
create table longhaul.step (
    run_id             uuid        not null,
    seq                integer     not null,
    -- Of an agent's step: its turn, and its place among the calls of that turn.
    turn               integer,
    call_index         integer,
    replaces_seq       integer,
    created_at         timestamptz not null,
    -- Of a workflow's step: branch path, name and occurrence, by which its code finds it again.
    identity           text,
    kind               longhaul.step_kind not null,
    name               text        not null,
    call_id            text,
    effect             longhaul.step_effect not null,
    key                text        not null,
    request_digest     bytea       not null,
    request            json,
    -- From here on columns change.
    worker_id          uuid        not null,
    fence              bigint      not null,
    budget_from        timestamptz not null,
    attempt_started_at timestamptz,
    attempt            integer     not null,
    attempts_max       integer     not null,
    maybe_applied      boolean     not null,
    state              longhaul.step_state not null,
    due_at             timestamptz,
    attempt_ended_at   timestamptz,
    ended_at           timestamptz,
    result             json,
    error              json,
    evidence           json,
    constraint step_pkey primary key (run_id, seq),
    constraint step_ended_has_a_time check ((state in ('succeeded', 'failed', 'cancelled')) = (ended_at is not null)),
    constraint step_has_its_place check (
        (identity is null) = (kind in ('model', 'tool')) and (turn is null) = (call_index is null)
        and (identity is null) <> (turn is null)),
    constraint step_tool_has_its_call check ((kind = 'tool') = (call_id is not null))
) partition by range (run_id);

-- What wakes a run is found without its other steps. No column of it ever changes, so that it costs no step its place.
create index step_wait_idx on longhaul.step (run_id, kind, request_digest, name) where kind in ('signal', 'child');

create table longhaul.attempt (
    run_id     uuid        not null,
    step_seq   integer     not null,
    attempt    integer     not null,
    worker_id  uuid        not null,
    fence      bigint      not null,
    started_at timestamptz not null,
    ended_at   timestamptz,
    error      json,
    evidence   json,
    constraint attempt_pkey primary key (run_id, step_seq, attempt)
) partition by range (run_id);

-- Appended, never updated or deleted. Numbered 1..n without gaps per run.
create table longhaul.event (
    run_id    uuid        not null,
    seq       integer     not null,
    kind      text        not null,
    step_seq  integer,
    worker_id uuid,
    fence     bigint      not null,
    at        timestamptz not null default now(),
    data      json,
    constraint event_pkey primary key (run_id, seq)
) partition by range (run_id);

-- What people and programs asked of a run, kept whatever its holder was doing at that time. Appended, never changed.
-- Each request adds one to the run's wakes, which numbers it.
create table longhaul.request (
    run_id uuid        not null,
    wake   bigint      not null,
    kind   text        not null,
    actor  text        not null,
    reason text,
    at     timestamptz not null default now(),
    constraint request_pkey primary key (run_id, wake),
    constraint request_kind check (kind in ('pause', 'resume', 'cancel'))
) partition by range (run_id);

-- What was told to a run from outside. Appended, never changed; a step of the kind signal says which one it took. Each
-- adds one to the run's wakes, which orders them.
create table longhaul.signal (
    run_id  uuid        not null,
    name    text        not null,
    wake    bigint      not null,
    id      text        not null,
    sender  text        not null,
    payload json        not null,
    at      timestamptz not null default now(),
    constraint signal_pkey primary key (run_id, name, wake),
    constraint signal_id_key unique (run_id, id)
) partition by range (run_id);

-- What a person is asked, about a step or about the run as a whole, and what was decided. One is open at a time for each
-- step, and one for the run. Its verbs are the decisions that may be taken. Once it is no longer open it never changes.
create table longhaul.approval (
    run_id     uuid        not null,
    id         uuid        not null default gen_random_uuid(),
    step_seq   integer,
    -- Of the step's attempts, the one that it is about.
    attempt    integer,
    -- The run's, when it was asked.
    fence      bigint      not null,
    reason     text        not null,
    verbs      text[]      not null,
    summary    text        not null,
    state      text        not null default 'open',
    opened_at  timestamptz not null default now(),
    -- Until then the call may still be on its way, and nobody can say that it did not happen.
    settles_at timestamptz,
    decided_at timestamptz,
    verb       text,
    actor      text,
    words      text,
    result     json,
    constraint approval_pkey primary key (run_id, id),
    constraint approval_state check (state in ('open', 'decided', 'withdrawn', 'superseded')),
    constraint approval_closed_has_a_time check ((state = 'open') = (decided_at is null)),
    constraint approval_decided_is_whole check (
        (state = 'decided') = (verb is not null) and (state = 'decided') = (actor is not null) and verb = any (verbs)),
    constraint approval_step_has_an_attempt check ((step_seq is null) = (attempt is null))
) partition by range (run_id);

create unique index approval_open_idx on longhaul.approval (run_id, step_seq) nulls not distinct where state = 'open';
create index approval_id_idx on longhaul.approval (id);
create index approval_inbox_idx on longhaul.approval (opened_at, id) where state = 'open';

-- Results that came after their run had moved on to another holder. Never applied: evidence for whoever must decide.
create table longhaul.late_result (
    run_id    uuid        not null,
    step_seq  integer     not null,
    attempt   integer     not null,
    worker_id uuid        not null,
    fence     bigint      not null,
    at        timestamptz not null default now(),
    outcome   json        not null,
    constraint late_result_pkey primary key (run_id, step_seq, attempt, fence)
) partition by range (run_id);

-- lz4 where the server has it; the server's own method otherwise.
do $$
begin
    if exists (
        select from pg_catalog.pg_settings
        where name = 'default_toast_compression' and 'lz4' = any (enumvals)
    ) then
        alter table longhaul.run alter input set compression lz4, alter history set compression lz4,
            alter result set compression lz4;
        alter table longhaul.step alter request set compression lz4, alter result set compression lz4;
        alter table longhaul.signal alter payload set compression lz4;
        alter table longhaul.approval alter result set compression lz4;
        alter table longhaul.late_result alter outcome set compression lz4;
    end if;
end
$$;
