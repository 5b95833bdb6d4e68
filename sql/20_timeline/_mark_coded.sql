create or replace function ehrdb.mark_coded(code_ids integer[]) returns integer
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    with recursive affected (code_id) as (
        select unnest(code_ids)
        union
        select p.child_id from affected a join ehrdb.concept_parent p on p.parent_id = a.code_id
    ), marked as (
        insert into ehrdb.changed_patient (patient_id)
        select distinct e.patient_id from ehrdb.event e join affected using (code_id) where e.valid_to = 'infinity'
        returning 1
    )
    select count(*)::integer from marked;
end;

comment on function ehrdb.mark_coded(integer[]) is
'Marks the patients who have one of these codes, or one below them; returns how many.';
