-- Asks people about steps, and, where there is a null, about the run. A step that waits was never sent: whether it is to
-- be is the question.
select
    case step.state
        when 'waiting' then longhaul.open_escalation($1, asked.seq)::text
        else longhaul.open_approval($1, asked.seq)::text
    end as asked
from unnest($2::integer[]) as asked (seq)
left join longhaul.step on step.run_id = $1 and step.seq = asked.seq
