select
    transcript.position as "position!", transcript.role as "role!", transcript.tool, transcript.is_error as "is_error!",
    transcript.text, transcript.content as "content: Shown", transcript.step_seq
from longhaul_audit.transcript
where transcript.run_id = $1
  and transcript.position > $2
order by transcript.position
limit $3
