create or replace function ehrdb.balance(
    case_ids bigint[], case_as_ofs timestamp[], control_ids bigint[], control_as_ofs timestamp[], concepts integer
) returns table (covariate text, mean_cohort float8, mean_controls float8, standardized_difference float8)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with listed as (
        select true as is_case, c.patient_id, c.moment from unnest(case_ids, case_as_ofs) c (patient_id, moment)
        union all
        select false, c.patient_id, c.moment from unnest(control_ids, control_as_ofs) c (patient_id, moment)
    ), member as (
        select row_number() over () as number, l.*, p.birth_time, p.sex from listed l join ehrdb.patient p using (patient_id)
    ), history as (
        select m.is_case, m.birth_time, m.sex, h.events, h.inpatient, h.first_time, h.last_time
          from member m
         cross join lateral (
            select count(*) as events, count(*) filter (where e.visit_class = 'inpatient') as inpatient,
                   min(e.time) filter (where e.time > coalesce(m.birth_time, '-infinity')) as first_time, max(e.time) as last_time
              from ehrdb.event e where e.patient_id = m.patient_id and e.time <= m.moment) h
    ), frequent as (
        select e.code_id, row_number() over (order by count(distinct m.number) desc, min(c.code)) as place, min(c.code) as code,
               min(c.description) as description
          from member m
          join ehrdb.event e on e.patient_id = m.patient_id and e.time <= m.moment
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
                        where e.patient_id = m.patient_id and e.code_id = f.code_id and e.time <= m.moment)::integer
          from frequent f
         cross join member m
    ), summed as (
        -- In order: sums of floating numbers depend on it, and it on the plan.
        select v.place, v.covariate,
               (avg(v.value order by v.value) filter (where v.is_case))::float8 as mean_a,
               (avg(v.value order by v.value) filter (where not v.is_case))::float8 as mean_b,
               (var_samp(v.value order by v.value) filter (where v.is_case))::float8 as variance_a,
               (var_samp(v.value order by v.value) filter (where not v.is_case))::float8 as variance_b
          from valued v
         group by v.place, v.covariate
    )
    select s.covariate, s.mean_a, s.mean_b,
           case when s.mean_a = s.mean_b then 0
                else (s.mean_a - s.mean_b) / nullif(sqrt((s.variance_a + s.variance_b) / 2), 0) end
      from summed s
     order by s.place;
end;

comment on function ehrdb.balance(bigint[], timestamp[], bigint[], timestamp[], integer) is
'Means and standardized mean differences of two groups of patients, each as of a moment of their own (parallel lists).';
