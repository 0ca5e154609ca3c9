-- Nothing yet: the number is kept for a migration that is being written.
select 1;
