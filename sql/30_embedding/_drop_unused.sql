create or replace function ehrdb.drop_unused() returns void
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    delete from ehrdb.embedding_job j
     where not exists (select from ehrdb.embedding_point p
                        where p.encoder_id = j.encoder_id and p.content_sha256 = j.content_sha256);
    delete from ehrdb.embedding e
     where not exists (select from ehrdb.embedding_point p
                        where p.encoder_id = e.encoder_id and p.content_sha256 = e.content_sha256);
end;

comment on function ehrdb.drop_unused() is
'Deletes vectors and jobs of contents that no patient shows any more.';
