-- Asks what became of the calls of an ended run whose outcome nobody knows.
select longhaul.ask_about_ended(array[$1::uuid])::text as asked
