-- A page of the inbox, newest first; of one run, or in one state, if told.
select
    approval.approval_id as "id!",
    approval.run_id as "run!: RunId",
    approval.agent,
    approval.kind as "kind!",
    approval.run_state as "run_state!",
    approval.step_seq,
    approval.name as "tool",
    approval.reason as "reason!",
    approval.state as "state!",
    approval.summary as "summary!",
    approval.verbs as "verbs!",
    approval.opened_at as "opened_at!",
    approval.settles_at,
    approval.decided_at,
    approval.verb,
    approval.actor,
    approval.words,
    approval.priority as "priority!"
from longhaul_audit.approval
where approval.tenant = $1
  and ($2::text is null or approval.state = $2)
  and ($3::uuid is null or approval.run_id = $3)
  and ($4::timestamptz is null or (approval.opened_at, approval.approval_id) < ($4, $5::uuid))
order by approval.opened_at desc, approval.approval_id desc
limit $6
