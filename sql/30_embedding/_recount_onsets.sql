create or replace function ehrdb.recount_onsets() returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    wrong bigint;
begin
    perform ehrdb.count_onsets();
    -- One statement, so one view of the data.
    with counted as materialized (
        select e.code_id, v.month, sum(v.patients) as patients
          from ehrdb.event e
         cross join lateral (values (date_trunc('month', e.time)::date, 1), (date_trunc('month', e.valid_to)::date, -1))
                    v (month, patients)
         where v.month < 'infinity'
         group by e.code_id, v.month
        having sum(v.patients) <> 0
    ), gone as (
        delete from ehrdb.concept_onset o
         where not exists (select from counted c where c.code_id = o.code_id and c.month = o.month)
        returning 1
    ), written as (
        insert into ehrdb.concept_onset as o (code_id, month, patients)
        select c.code_id, c.month, c.patients from counted c
            on conflict (code_id, month) do update set patients = excluded.patients where o.patients <> excluded.patients
        returning 1
    )
    select (select count(*) from gone) + (select count(*) from written) into wrong;
    return wrong + ehrdb.look_since();
end
$$;

comment on function ehrdb.recount_onsets() is
'Counts anew, from all events, how many patients had each concept by each month, and since when each patient is known; returns how
many figures were wrong.';
