create or replace function ehrdb.require_snapshot(
    for_encoder_id integer, cohort bigint[], as_of timestamp, excluded bigint
) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    for_prompt_id constant integer := (select n.prompt_id from ehrdb.encoder n where n.encoder_id = for_encoder_id);
    without bigint;
begin
    select count(*) into without
      from ehrdb.patient p
     where (cohort is null or p.patient_id = any (cohort)) and p.patient_id is distinct from excluded
       and exists (select from ehrdb.event v where v.patient_id = p.patient_id and v.time <= require_snapshot.as_of)
       and p.patient_id not in (select v.patient_id
                                  from ehrdb.newest_vector(for_encoder_id, for_prompt_id, require_snapshot.as_of) v);
    if without > 0 then
        raise exception using errcode = 'EH004',
            message = format('%s patients with a record by %s have no embedding as of then', without, as_of),
            hint = format('Make a snapshot: ehrdb refresh --as-of "%s".', as_of);
    end if;
end
$$;

comment on function ehrdb.require_snapshot(integer, bigint[], timestamp, bigint) is
'EH004 where members of the cohort could not be compared as of that moment: too few rows are never returned silently.';
