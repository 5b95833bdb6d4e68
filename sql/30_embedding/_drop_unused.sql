create or replace function ehrdb.drop_unused(for_encoder_id integer, contents bytea[] default null) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- a list of one and a list of thousands are not read alike
as $$
declare
    unused bytea[];
begin
    if contents is null then
        contents := array(
            select u.content_sha256
              from (select e.encoder_id, e.content_sha256 from ehrdb.embedding e
                    union
                    select j.encoder_id, j.content_sha256 from ehrdb.embedding_job j) u
             where u.encoder_id = for_encoder_id
               and not exists (select from ehrdb.embedding_point p
                                where p.encoder_id = u.encoder_id and p.content_sha256 = u.content_sha256));
    end if;
    unused := array(
        select c from unnest(contents) c
        except
        select p.content_sha256 from ehrdb.embedding_point p
         where p.encoder_id = for_encoder_id and p.content_sha256 = any (contents));
    delete from ehrdb.embedding_job j where j.encoder_id = for_encoder_id and j.content_sha256 = any (unused);
    delete from ehrdb.embedding e where e.encoder_id = for_encoder_id and e.content_sha256 = any (unused);
    return cardinality(unused);
end
$$;

comment on function ehrdb.drop_unused(integer, bytea[]) is
'Deletes the vectors and jobs of those of these contents (null: of all) that no patient shows any more; returns how many
contents that were.';
