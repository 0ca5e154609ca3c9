-- Whoever has a turn may die with it: then the connection on which it took the turn is gone, and nobody waits.

alter table write_turn add column holder_pid int;               -- of the backend, null: held by the lease alone
alter table write_turn add column holder_since timestamptz;     -- when that backend began
