create or replace function ehrdb.count_onsets() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    changed integer[];
begin
    with taken as (
        delete from ehrdb.concept_onset_change returning code_id, month, patients
    ), counted as (
        insert into ehrdb.concept_onset as o (code_id, month, patients)
        select t.code_id, t.month, sum(t.patients)
          from taken t
         group by t.code_id, t.month
        having sum(t.patients) <> 0
         order by t.code_id, t.month
            on conflict (code_id, month) do update set patients = o.patients + excluded.patients
        returning o.code_id, o.patients
    )
    select array_agg(c.code_id) into changed from counted c where c.patients = 0;
    delete from ehrdb.concept_onset o where o.code_id = any (changed) and o.patients = 0;
end
$$;

comment on function ehrdb.count_onsets() is
'Puts what has changed together with the counts of patients by concept and month; nothing is left of who is gone.';
