-- Whoever has a lease may be killed. On the same machine that can be seen by the name of the process
-- (storage/processes.py), and nobody waits for the dead.

alter table session add column lease_holder text;       -- who has the lease; null: nobody, or there is no telling
alter table account_deletion add column holder text;    -- likewise, while `due` is a lease
