select longhaul.decide_approval($1, $2, $3, $4::text::json, $5, false) as "state!"
