-- Cancels a batch of what is left below runs that are over, or are to be.
select longhaul.sweep_children(most => $1) as "cancelled!"
