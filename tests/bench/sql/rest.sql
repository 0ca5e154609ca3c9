-- What the ordinary endpoints for REST need beside the tables of orm.sql: albums, sessions and queues as rows of their
-- own. `rest_in` is filled by the bench, with what the indexer renders.
create table orm.album (id uuid primary key, repo_id int not null, slug text not null, title text not null,
                        unique (repo_id, slug));
create table orm.session (token_hash text primary key, did text not null, expires_at timestamptz not null);
create table orm.queue (did text primary key, state jsonb not null, revision bigint not null);
create temporary table rest_in (id bigint, rest text, album text, album_id uuid, file_id text)
