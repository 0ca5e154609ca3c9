-- Accounts out of sight are few, and left out of every count: of a track that forty thousand like it is cheaper to know
-- them all than to look each account up.

create index profile_hidden on profile (repo_id) where hidden;
