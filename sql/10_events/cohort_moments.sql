create or replace function ehr.cohort_moments(
    cohort_definition_id integer, out patient_ids bigint[], out as_ofs timestamp[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ehrdb.note('cohort_moments');
    select array_agg(m.subject_id order by m.subject_id, m.day), array_agg(m.day + time '23:59' order by m.subject_id, m.day)
      into patient_ids, as_ofs
      from (select distinct c.subject_id, c.cohort_start_date as day
              from ehrdb.cohort_row(cohort_definition_id) c
              join ehrdb.patient p on p.patient_id = c.subject_id
             where isfinite(c.cohort_start_date)) m;
    if patient_ids is null then
        perform ehr.cohort(cohort_definition_id);
        patient_ids := '{}';
        as_ofs := '{}';
    end if;
end
$$;

comment on function ehr.cohort_moments(integer) is
'The index dates of an OMOP cohort: its patients, each with the end of the day he enters it (23:59).
Two parallel arrays, for whatever takes pairs; who enters it several times has several. From results.cohort, or the table
that the setting ehrdb.cohort_table names; of those who are patients here. EH001: nobody is; EH010: there is no such table.
Example: select p.* from ehr.cohort_moments(7) c, ehr.timelines(c.patient_ids, c.as_ofs) p;';
