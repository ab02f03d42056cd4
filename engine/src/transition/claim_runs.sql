-- Takes due runs that this worker can drive, by priority, then due time. The fence shuts out whoever held them before.
-- Runs that may have killed their workers are taken by a worker that drives nothing else, those with as many crashes
-- behind them ($7 to $8) together.
-- Queue by queue, so that each is read in its order and no further than wanted, however many are due; and lane by lane, of
-- one priority or of all, from the place on at which the look begins (engine/src/reach.rs).
with due as (
    select run.id, run.due_at
    from unnest($9::smallint[], $10::smallint[], $11::timestamptz[], $12::uuid[]) as lane (first, last, due, id)
    cross join lateral (
        select run.id, run.priority, run.due_at
        from unnest($3::text[]) as wanted (queue)
        cross join lateral (
            select run.id, run.priority, run.due_at
            from longhaul.run
            where run.queue = wanted.queue
              and run.state = 'queued'
              and run.paused_at is null
              and run.due_at <= coalesce($6::timestamptz, now())
              and (run.priority, run.due_at, run.id) >= (lane.first, lane.due, lane.id)
              and (run.priority, run.due_at) <= (lane.last, coalesce($6::timestamptz, now()))
              and run.kind = any ($4)
              -- Most runs need no functions; said apart, since the planner takes containment for a rarity.
              and (run.functions = '{}' or run.functions <@ $5)
              and run.crashes between $7 and $8
            order by run.priority, run.due_at, run.id
            limit $2
            for no key update skip locked
        ) as run
        order by run.priority, run.due_at, run.id
        limit $2
    ) as run
    -- Lanes come in the order of their priorities, and those behind the last one wanted are not looked at: what is locked
    -- and not taken is kept from others.
    limit $2
), claimed as (
    update longhaul.run
    set state      = 'running',
        fence      = run.fence + 1,
        worker_id  = $1,
        due_at     = null,
        event_seq  = run.event_seq + 1,
        started_at = coalesce(run.started_at, $6::timestamptz, now())
    from due
    where run.id = due.id
      and exists (
          select from longhaul.worker
          where worker.id = $1
            and worker.closed_at is null
            and worker.lease_expires_at > coalesce($6::timestamptz, now()))
    returning run.*, due.due_at as was_due_at
), logged as (
    insert into longhaul.event (run_id, seq, kind, worker_id, fence, at)
    select claimed.id, claimed.event_seq, 'run.claimed', $1, claimed.fence, coalesce($6::timestamptz, now())
    from claimed
)
select
    claimed.id as "id: RunId",
    claimed.fence as "fence: Fence",
    claimed.event_seq,
    claimed.wakes,
    claimed.crashes,
    claimed.resumed_fence as "resumed_fence: Fence",
    claimed.cancel_requested_at is not null as "cancel_requested!",
    coalesce($6::timestamptz, now()) as "now!",
    claimed.kind,
    claimed.tenant,
    claimed.requester,
    claimed.deadline_at,
    claimed.deadline_is_callers,
    claimed.agent_version_id as "agent_version_id: AgentVersionId",
    claimed.input::text as "input!",
    claimed.history::text as history,
    claimed.parent_id as "parent: RunId",
    claimed.priority,
    claimed.was_due_at as "due!"
from claimed
order by claimed.priority, claimed.id
