create or replace function ehr.cohort_balance_at(
    patient_ids bigint[], as_ofs timestamp[], control_ids bigint[], control_as_ofs timestamp[], concepts integer default 20
) returns table (covariate text, mean_cohort float8, mean_controls float8, standardized_difference float8)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('cohort_balance_at', cohort => array(select unnest($1) union all select unnest($3)));
    select b.covariate, b.mean_cohort, b.mean_controls, b.standardized_difference
      from ehrdb.balance($1, $2, $3, $4, $5) b
     where ehrdb.are_pairs($1, $2) and ehrdb.are_pairs($3, $4) and ehrdb.is_count($5, 'concepts', 0)
       and ehrdb.is_count(cardinality($1), 'patient_ids');
end;

comment on function ehr.cohort_balance_at(bigint[], timestamp[], bigint[], timestamp[], integer) is
'How alike two groups are, each patient as of an index date of their own.
As ehr.cohort_balance; both groups are parallel lists of patients and moments, and nothing after a moment is counted. EH007: lists
that do not fit together.
Example: select b.* from ehr.cohort_moments(7) a, ehr.cohort_moments(8) c, ehr.cohort_balance_at(a.patient_ids, a.as_ofs, c.patient_ids, c.as_ofs) b;';
