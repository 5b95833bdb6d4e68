create or replace function ehr.cohort_balance(
    cohort bigint[], controls bigint[], as_of timestamp default 'infinity', concepts integer default 20
) returns table (covariate text, mean_cohort float8, mean_controls float8, standardized_difference float8)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with member as (
        select p.patient_id, true as is_case, p.birth_time, p.sex from ehrdb.patient p
         where p.patient_id = any (cohort) and ehrdb.is_cohort(cohort) and ehrdb.is_cohort(controls)
           and ehrdb.is_moment(cohort_balance.as_of) and ehrdb.is_count(concepts, 'concepts', 0)
           and ehrdb.is_count(coalesce(cardinality(cohort), 0), 'cohort')
        union all
        select p.patient_id, false, p.birth_time, p.sex from ehrdb.patient p where p.patient_id = any (controls)
    ), history as (
        select m.patient_id, m.is_case, m.birth_time, m.sex, h.events, h.inpatient, h.first_time, h.last_time
          from member m
         cross join lateral (
            select count(*) as events, count(*) filter (where e.visit_class = 'inpatient') as inpatient,
                   min(e.time) filter (where e.time > coalesce(m.birth_time, '-infinity')) as first_time, max(e.time) as last_time
              from ehrdb.event e where e.patient_id = m.patient_id and e.time <= cohort_balance.as_of) h
    ), frequent as (
        select e.code_id, row_number() over (order by count(distinct m.patient_id) desc, min(c.code)) as place, min(c.code) as code,
               min(c.description) as description
          from member m
          join ehrdb.event e on e.patient_id = m.patient_id and e.time <= cohort_balance.as_of
          join ehrdb.clinical_concept c using (code_id)
         where m.is_case
         group by e.code_id
         order by 2
         limit concepts
    ), valued (place, covariate, is_case, value) as (
        select -5 as place, 'age at the last event (years)' as covariate, h.is_case,
               extract(epoch from h.last_time - h.birth_time) / (365.25 * 86400) from history h where isfinite(h.last_time)
        union all
        select -4 as place, 'female' as covariate, h.is_case, (upper(left(h.sex, 1)) = 'F')::integer from history h
        union all
        select -3 as place, 'years of record' as covariate, h.is_case,
               extract(epoch from h.last_time - h.first_time) / (365.25 * 86400) from history h where isfinite(h.last_time)
        union all
        select -2 as place, 'events (logarithm)' as covariate, h.is_case, ln(1 + h.events) from history h
        union all
        select -1 as place, 'inpatient visits' as covariate, h.is_case, h.inpatient from history h
        union all
        select f.place, coalesce(f.description, f.code), m.is_case,
               exists (select from ehrdb.event e
                        where e.patient_id = m.patient_id and e.code_id = f.code_id and e.time <= cohort_balance.as_of)::integer
          from frequent f
         cross join member m
    ), summed as (
        select v.place, v.covariate,
               (avg(v.value) filter (where v.is_case))::float8 as mean_a, (avg(v.value) filter (where not v.is_case))::float8 as mean_b,
               (var_samp(v.value) filter (where v.is_case))::float8 as variance_a,
               (var_samp(v.value) filter (where not v.is_case))::float8 as variance_b
          from valued v
         group by v.place, v.covariate
    )
    select s.covariate, s.mean_a, s.mean_b,
           case when s.mean_a = s.mean_b then 0
                else (s.mean_a - s.mean_b) / nullif(sqrt((s.variance_a + s.variance_b) / 2), 0) end
      from summed s
     order by s.place;
end;

comment on function ehr.cohort_balance(bigint[], bigint[], timestamp, integer) is
'How alike two groups are: means and standardized mean differences.
Means are of 0 and 1 for sex and concepts; differences ((mean - mean) / root of the mean variance; Austin 2009: below
0.1 in size is balanced) of age, sex, length of record, events, inpatient visits, and the concepts most frequent in
the cohort.
Example: select * from ehr.cohort_balance(array[1, 2, 3], array[4, 5, 6]);';
