create or replace function ehrdb.require_snapshot(for_encoder_id integer, cohort bigint[], as_of timestamp) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
begin
    perform ehrdb.refuse_missing(array(
        select v.patient_id
          from ehrdb.encoder n, ehrdb.vectors_of(cohort, for_encoder_id, n.prompt_id, require_snapshot.as_of) v
         where n.encoder_id = for_encoder_id and v.reason = 'not embedded as of then'
         order by v.patient_id), as_of);
end
$$;

comment on function ehrdb.require_snapshot(integer, bigint[], timestamp) is
'EH004 where members of the cohort cannot be compared as of that moment.';
