create or replace function ehr.predict_cohort(
    task text, cohort bigint[] default null, as_of timestamp default 'infinity', encoder text default null
) returns setof ehrdb.prediction
language sql stable
begin atomic
    select p.patient_id, p.probability, p.as_of, p.is_stale
      from ehr.predict_cohort(array[$1], $2, $3, $4) p;
end;

comment on function ehr.predict_cohort(text, bigint[], timestamp, text) is
'Probability of the task''s outcome for every embedded member of a cohort (null: all patients), in one pass,
with the moment up to which the record was known and whether it changed since.
Example: select * from ehr.predict_cohort(''guo_readmission'') order by probability desc limit 10;';
