create or replace function ehrdb.keep_newest_current(for_encoder_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    create temp table newest on commit drop as
    select distinct on (p.prompt_id, p.patient_id) p.prompt_id, p.patient_id, p.as_of
      from ehrdb.embedding_point p
     where p.encoder_id = for_encoder_id
     order by p.prompt_id, p.patient_id, p.as_of desc;
    analyze pg_temp.newest;

    -- Two statements: a unique index allows no moment with two current points.
    update ehrdb.embedding_point p set is_current = false
     where p.encoder_id = for_encoder_id and p.is_current
       and not exists (select from pg_temp.newest n
                        where (n.prompt_id, n.patient_id, n.as_of) = (p.prompt_id, p.patient_id, p.as_of));
    update ehrdb.embedding_point p set is_current = true
      from pg_temp.newest n
     where p.encoder_id = for_encoder_id and not p.is_current
       and (p.prompt_id, p.patient_id, p.as_of) = (n.prompt_id, n.patient_id, n.as_of);

    delete from ehrdb.patient_embedding s
     where s.encoder_id = for_encoder_id and not exists (select from pg_temp.newest n where n.patient_id = s.patient_id);
    delete from ehrdb.embedding e
     where e.encoder_id = for_encoder_id
       and not exists (select from ehrdb.embedding_point p
                        where p.encoder_id = e.encoder_id and p.content_sha256 = e.content_sha256);
    perform ehrdb.serve_current(for_encoder_id, array(
        select e.content_sha256 from ehrdb.embedding e where e.encoder_id = for_encoder_id));
    drop table pg_temp.newest;
end
$$;

comment on function ehrdb.keep_newest_current(integer) is
'For an encoder without a model: each patient''s newest point is the current one, which search reads; vectors
without a point go.';
