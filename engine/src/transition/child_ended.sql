-- In the transaction that ends the child and holds both rows' locks.
select longhaul.child_ended(parent => $1, child => $2)::text
