-- What an idle worker wants to know, in one statement: is there something to wake, take back or claim, and when next. What
-- is due is looked for as far back as the look reaches (engine/src/reach.rs).
-- The 2 is limits::CRASHES_SUSPECT, written out so that run_suspect_idx serves.
select
    coalesce($4::timestamptz, now()) as "now!",
    coalesce((
        select run.due_at <= coalesce($4::timestamptz, now())
        from longhaul.run
        where run.state = 'waiting'
          and run.paused_at is null
          and run.due_at >= coalesce($11::timestamptz, '-infinity')
        order by run.due_at
        limit 1
    ), false) as "wakeable!",
    exists (
        select from longhaul.worker
        where worker.closed_at is null
          and worker.lease_expires_at <= coalesce($4::timestamptz, now())
    ) or exists (
        select from longhaul.run
        join longhaul.worker on worker.id = run.worker_id
        where run.worker_id is not null
          and worker.closed_at is not null
    ) as "reclaimable!",
    exists (
        select from longhaul.run
        where run.ends_children
          and (run.ended_at is not null or run.cancel_requested_at is not null)
    ) as "sweepable!",
    exists (
        select from longhaul.waiter
        where waiter.look_at <= coalesce($4::timestamptz, now())
    ) as "tendable!",
    exists (
        select from unnest($1::text[]) as wanted (queue)
        cross join unnest($7::smallint[], $8::smallint[], $9::timestamptz[], $10::uuid[]) as lane (first, last, due, id)
        cross join lateral (
            select run.id
            from longhaul.run
            where run.queue = wanted.queue
              and run.state = 'queued'
              and run.paused_at is null
              and run.due_at <= coalesce($4::timestamptz, now())
              and (run.priority, run.due_at, run.id) >= (lane.first, lane.due, lane.id)
              and (run.priority, run.due_at) <= (lane.last, coalesce($4::timestamptz, now()))
              and run.kind = any ($2)
              and (run.functions = '{}' or run.functions <@ $3)
              and run.crashes < 2
            order by run.priority, run.due_at, run.id
            limit 1
        ) as run
    ) as "claimable!",
    (
        select run.crashes
        from longhaul.run
        where run.queue = any ($1)
          and run.state = 'queued'
          and run.paused_at is null
          and run.due_at <= coalesce($4::timestamptz, now())
          and run.kind = any ($2)
          and run.functions <@ $3
          and run.crashes >= 2
        order by run.due_at
        limit 1
    ) as suspect_crashes,
    exists (
        select from longhaul.run
        where run.queue = any ($1)
          and run.state = 'queued'
          and run.paused_at is null
          and run.due_at <= coalesce($4::timestamptz, now()) - make_interval(secs => $6)
          and run.kind = any ($2)
          and run.functions <@ $3
          and run.crashes >= 2
          and not exists (
              select from longhaul.worker as other
              where other.clearing
                and other.id <> $5
                and other.closed_at is null
                and other.lease_expires_at > coalesce($4::timestamptz, now())
                and run.queue = any (other.queues)
                and run.kind = any (other.kinds)
                and run.functions <@ other.functions)
    ) as "neglected!",
    (extract(epoch from least(
        (
            select run.due_at
            from longhaul.run
            where run.state = 'queued'
              and run.paused_at is null
              and run.due_at > coalesce($4::timestamptz, now())
            order by run.due_at
            limit 1
        ), (
            select run.due_at
            from longhaul.run
            where run.state = 'waiting'
              and run.paused_at is null
              and run.due_at > coalesce($4::timestamptz, now())
            order by run.due_at
            limit 1
        ), (
            select min(worker.lease_expires_at)
            from longhaul.worker
            where worker.closed_at is null
        )
    ) - coalesce($4::timestamptz, now())) * 1000)::double precision as next_due_ms
