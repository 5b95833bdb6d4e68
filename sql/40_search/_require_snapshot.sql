create or replace function ehrdb.require_snapshot(
    for_encoder_id integer, cohort bigint[], as_of timestamp, excluded bigint
) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    for_prompt_id constant integer := (select n.prompt_id from ehrdb.encoder n where n.encoder_id = for_encoder_id);
    without bigint;
begin
    select count(*) into without
      from ehrdb.patient p
     where (cohort is null or p.patient_id in (select c from unnest(cohort) c)) and p.patient_id is distinct from excluded
       and exists (select from ehrdb.event v where v.patient_id = p.patient_id and v.time <= require_snapshot.as_of)
       and not exists (select from ehrdb.embedding_point n
                         join ehrdb.embedding e on e.encoder_id = n.encoder_id and e.content_sha256 = n.content_sha256
                        where n.encoder_id = for_encoder_id and n.prompt_id = for_prompt_id
                          and n.patient_id = p.patient_id and n.as_of <= require_snapshot.as_of);
    if without > 0 then
        raise exception using errcode = 'EH004',
            message = format('%s patients with a record by %s have no embedding as of then', without, as_of),
            hint = format('Make a snapshot: ehrdb refresh --as-of "%s".', as_of);
    end if;
end
$$;

comment on function ehrdb.require_snapshot(integer, bigint[], timestamp, bigint) is
'EH004 where members of the cohort could not be compared as of that moment: too few rows are never returned silently.';
