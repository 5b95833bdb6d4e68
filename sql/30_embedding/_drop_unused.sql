create or replace function ehrdb.drop_unused(for_encoder_id integer, contents bytea[] default null) returns bigint
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    with looked_at as materialized (
        select c as content_sha256 from unnest(contents) c
        union
        select e.content_sha256 from ehrdb.embedding e where contents is null and e.encoder_id = for_encoder_id
        union
        select j.content_sha256 from ehrdb.embedding_job j where contents is null and j.encoder_id = for_encoder_id
    ), unused as materialized (
        select l.content_sha256
          from looked_at l
         where not exists (select from ehrdb.embedding_point p
                            where p.encoder_id = for_encoder_id and p.content_sha256 = l.content_sha256)
    ), unqueued as (
        delete from ehrdb.embedding_job j using unused u
         where j.encoder_id = for_encoder_id and j.content_sha256 = u.content_sha256
    ), dropped as (
        delete from ehrdb.embedding e using unused u
         where e.encoder_id = for_encoder_id and e.content_sha256 = u.content_sha256
    )
    select count(*) from unused;
end;

comment on function ehrdb.drop_unused(integer, bytea[]) is
'Deletes the vectors and jobs of those of these contents (null: of all) that no patient shows any more; returns how many.';
