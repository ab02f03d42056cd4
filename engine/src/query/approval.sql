-- All that there is to judge one approval by, as JSON text.
select row_to_json(approval)::text as "approval!"
from longhaul_audit.approval
where approval.approval_id = $1
