-- A run's signals in the order in which they came, each with the step that took it.
select
    signal.wake as "wake!", signal.id as "id!", signal.name as "name!", signal.sender as "sender!", signal.at as "at!",
    signal.payload as "payload!: Shown", taken.seq as "taken_by?"
from longhaul.signal
left join longhaul.step as taken on taken.run_id = signal.run_id
    and taken.kind = 'signal'
    and taken.name = signal.name
    and (taken.result ->> 'wake')::bigint = signal.wake
where signal.run_id = $1
  and signal.wake > $2
order by signal.wake
limit $3
