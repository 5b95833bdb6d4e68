create or replace function ehrdb.require_snapshot(
    for_encoder_id integer, cohort bigint[], as_of timestamp, excluded bigint
) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    without bigint[];
begin
    without := array(
        select v.patient_id
          from ehrdb.encoder n, ehrdb.vectors_of(cohort, for_encoder_id, n.prompt_id, require_snapshot.as_of) v
         where n.encoder_id = for_encoder_id and v.reason = 'not embedded as of then'
           and v.patient_id is distinct from excluded
         order by v.patient_id);
    if without <> '{}' then
        raise exception using errcode = 'EH004',
            message = format('%s patients with a record by %s are not embedded as of then: %s', cardinality(without), as_of,
                             array_to_string(without[:3], ', ') || case when cardinality(without) > 3 then ', ...' else '' end),
            hint = format('Make a snapshot: ehrdb refresh --as-of "%s". Or leave them out of the cohort.', as_of);
    end if;
end
$$;

comment on function ehrdb.require_snapshot(integer, bigint[], timestamp, bigint) is
'EH004 where members of the cohort cannot be compared as of that moment: an answer among the others would change with the
next refresh.';
