create or replace function ehr.cohort_balance(
    cohort bigint[], controls bigint[], as_of timestamp default 'infinity', concepts integer default 20
) returns table (covariate text, mean_cohort float8, mean_controls float8, standardized_difference float8)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('cohort_balance', cohort => array(select unnest($1) union all select unnest($2)));
    select b.covariate, b.mean_cohort, b.mean_controls, b.standardized_difference
      from (select array_agg(c) as ids, array_agg(cohort_balance.as_of) as as_ofs
              from (select distinct c from unnest(cohort) c) c (c)) a
     cross join (select array_agg(c) as ids, array_agg(cohort_balance.as_of) as as_ofs
                   from (select distinct c from unnest(controls) c) c (c)) d
     cross join lateral ehrdb.balance(a.ids, a.as_ofs, d.ids, d.as_ofs, concepts) b
     where ehrdb.is_cohort(cohort) and ehrdb.is_cohort(controls) and ehrdb.is_moment(cohort_balance.as_of)
       and ehrdb.is_count(concepts, 'concepts', 0) and ehrdb.is_count(coalesce(cardinality(cohort), 0), 'cohort');
end;

comment on function ehr.cohort_balance(bigint[], bigint[], timestamp, integer) is
'How alike two groups are: means and standardized mean differences.
Means are of 0 and 1 for sex and concepts; differences ((mean - mean) / root of the mean variance; Austin 2009: below
0.1 in size is balanced) of age, sex, years of record (from the first event after birth), events, inpatient visits, and of
those concepts in which the groups differ most. null: the groups differ and nobody within them does.
Example: select * from ehr.cohort_balance(array[1, 2, 3], array[4, 5, 6]);';
