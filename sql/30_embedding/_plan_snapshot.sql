create or replace function ehrdb.plan_snapshot(for_encoder_id integer, at timestamp, cohort bigint[])
returns integer
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    insert into ehrdb.snapshot (as_of) values (at) on conflict do nothing;
    select ehrdb.plan_moments(for_encoder_id, array_agg(p.patient_id), array_agg(at))
      from ehrdb.patient p where cohort is null or p.patient_id = any (cohort);
end;

comment on function ehrdb.plan_snapshot(integer, timestamp, bigint[]) is
'Queues the timelines of the cohort (null: everybody) as of one moment; returns how many contents are new. The
moment is kept: records that arrive late are embedded again as of then.';
