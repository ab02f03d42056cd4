-- What people were asked about a run, in the order asked, and what they decided. The result of a call that happened is in
-- the shape in which its step keeps results.
select
    approval.id,
    approval.step_seq,
    approval.attempt,
    approval.fence as "fence: Fence",
    approval.state,
    approval.reason,
    approval.verb,
    approval.actor,
    approval.words,
    case approval.verb when 'happened' then longhaul.told_result(step.kind, approval.result, approval.actor)::text end as told
from longhaul.approval
left join longhaul.step on step.run_id = approval.run_id and step.seq = approval.step_seq
where approval.run_id = $1
order by approval.opened_at, approval.state = 'open', approval.id
