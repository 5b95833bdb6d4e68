create or replace function ehrdb.plan_snapshot(for_encoder_id integer, at timestamp, cohort bigint[])
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- a list of one and a list of thousands are not read alike
as $$
declare
    queued integer;
begin
    insert into ehrdb.snapshot (as_of) values (at) on conflict do nothing;
    create temp table wanted on commit drop as
    with arrays as (
        select array_agg(p.patient_id) as patient_ids, array_agg(at) as as_ofs
          from ehrdb.patient p where cohort is null or p.patient_id = any (cohort)
    )
    select ep.prompt_id, t.patient_id, at as as_of, false as is_current,
           ehrdb.content_sha256(ep.prompt, t.text) as content_sha256, length(t.text) as characters
      from arrays
     cross join ehrdb.encoder e
     cross join lateral ehr.timelines(arrays.patient_ids, arrays.as_ofs, e.format) t
      join ehrdb.encoder_prompt ep on ep.encoder_id = e.encoder_id
     where e.encoder_id = for_encoder_id and e.kind = 'model' and arrays.patient_ids is not null and t.text <> '';

    queued := ehrdb.apply_plan(for_encoder_id);
    drop table pg_temp.wanted;
    return queued;
end
$$;

comment on function ehrdb.plan_snapshot(integer, timestamp, bigint[]) is
'Queues the timelines of the cohort (null: everybody) as of one moment; returns how many contents are new. The
moment is kept: records that arrive late are embedded again as of then.';
