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
    ), size as (
        select count(*) filter (where m.is_case)::float8 as cases, count(*) filter (where not m.is_case)::float8 as controls
          from member m
    ), concept as (
        -- In how many histories each concept is, by then; of 0 and 1 the variance follows from the mean.
        select d.code_id, count(*) filter (where d.is_case) / nullif(s.cases, 0) as mean_a,
               count(*) filter (where not d.is_case) / nullif(s.controls, 0) as mean_b,
               s.cases / nullif(s.cases - 1, 0) as more_a, s.controls / nullif(s.controls - 1, 0) as more_b
          from (select distinct m.number, m.is_case, e.code_id
                  from member m
                  join ehrdb.event e on e.patient_id = m.patient_id and e.time <= m.moment) d
         cross join size s
         group by d.code_id, s.cases, s.controls
    ), compared as (
        select k.code, k.description, c.*, c.mean_a * (1 - c.mean_a) * c.more_a as variance_a,
               c.mean_b * (1 - c.mean_b) * c.more_b as variance_b
          from concept c
          join ehrdb.clinical_concept k using (code_id)  -- each once, not with each event
    ), unbalanced as (
        select row_number() over (order by
                   case when c.mean_a <> c.mean_b
                        then coalesce(abs(c.mean_a - c.mean_b) / nullif(sqrt((c.variance_a + c.variance_b) / 2), 0), 'infinity')
                        else 0 end desc nulls last, c.mean_a desc nulls last, c.code) as place,
               coalesce(c.description, c.code) as covariate, c.mean_a, c.mean_b, c.variance_a, c.variance_b
          from compared c
         order by 1
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
    ), summed as (
        -- In order: sums of floating numbers depend on it, and it on the plan.
        select v.place, v.covariate,
               (avg(v.value order by v.value) filter (where v.is_case))::float8 as mean_a,
               (avg(v.value order by v.value) filter (where not v.is_case))::float8 as mean_b,
               (var_samp(v.value order by v.value) filter (where v.is_case))::float8 as variance_a,
               (var_samp(v.value order by v.value) filter (where not v.is_case))::float8 as variance_b
          from valued v
         group by v.place, v.covariate
        union all
        select u.place, u.covariate, u.mean_a, u.mean_b, u.variance_a, u.variance_b from unbalanced u
    )
    select s.covariate, s.mean_a, s.mean_b,
           case when s.mean_a = s.mean_b then 0
                else (s.mean_a - s.mean_b) / nullif(sqrt((s.variance_a + s.variance_b) / 2), 0) end
      from summed s
     order by s.place;
end;

comment on function ehrdb.balance(bigint[], timestamp[], bigint[], timestamp[], integer) is
'Means and standardized mean differences of two groups of patients, each as of a moment of their own (parallel lists).';
