create or replace function ehrdb.plan_index_dates(
    for_encoder_id integer, patient_ids bigint[], as_ofs timestamp[], out queued integer, out without integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- a list of one and a list of thousands are not read alike
as $$
begin
    perform ehrdb.wait_to_plan();  -- a purge that runs is over before moments are kept
    insert into ehrdb.index_date (patient_id, as_of)
    select distinct a.patient_id, a.as_of
      from unnest(patient_ids, as_ofs) a (patient_id, as_of)
      join ehrdb.patient p using (patient_id)
        on conflict do nothing;
    queued := ehrdb.plan_moments(for_encoder_id, patient_ids, as_ofs);
    without := (
        select count(*)
          from unnest(patient_ids, as_ofs) a (patient_id, as_of)
         where not exists (select from ehrdb.embedding_point p
                            where p.encoder_id = for_encoder_id and p.patient_id = a.patient_id and p.as_of = a.as_of));
end
$$;

comment on function ehrdb.plan_index_dates(integer, bigint[], timestamp[]) is
'Queues the timelines of patients, each as of a moment of his own (parallel arrays). Returns how many contents are new, and
of how many pairs there is nothing to embed. The moments are kept: records that arrive late are embedded again as of them.';
