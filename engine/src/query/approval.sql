-- All that there is to judge one approval by.
select
    approval_id as "approval_id!", run_id as "run_id!: RunId", tenant as "tenant!", requester as "requester!",
    kind as "kind!", agent, run_state as "run_state!", step_seq, attempt, reason as "reason!", state as "state!",
    summary as "summary!", verbs as "verbs!", opened_at as "opened_at!", settles_at, decided_at, verb, actor, words,
    result as "result: Raw", name, effect, key, request as "request: Raw", error as "error: Raw",
    evidence as "evidence: Raw", coalesce(probes, '[]') as "probes!: Json<Vec<Box<RawValue>>>",
    coalesce(late_results, '[]') as "late_results!: Json<Vec<Box<RawValue>>>",
    priority as "priority!"
from longhaul_audit.approval
where approval.approval_id = $1
