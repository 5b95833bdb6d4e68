create or replace function ehrdb.labels_cohort(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    -- Days are counted from the index day, as in PatientLevelPrediction, and its steps are in its order.
    with setting as (
        select s.* from jsonb_to_record(rule) as s (
            target integer, outcome integer, risk_window_start integer, start_anchor text, risk_window_end integer,
            end_anchor text, restrict_tar_to_cohort_end boolean, first_exposure_only boolean, washout_period integer,
            remove_subjects_with_prior_outcome boolean, prior_outcome_lookback integer, require_time_at_risk boolean,
            include_all_outcomes boolean, min_time_at_risk integer)
    ), exposure as (
        select t.subject_id, t.cohort_start_date as day, t.cohort_end_date - t.cohort_start_date as cohort_end,
               max(t.cohort_end_date - t.cohort_start_date) over () as longest,
               o.last_day - t.cohort_start_date as observed_end, t.cohort_start_date - o.first_day as observed_before,
               row_number() over (partition by t.subject_id order by t.cohort_start_date, t.cohort_end_date) as number
          from setting s, ehrdb.cohort_row(s.target) t
          join ehrdb.observed() o on o.patient_id = t.subject_id and t.cohort_start_date between o.first_day and o.last_day
          join ehrdb.patient p on p.patient_id = t.subject_id
    ), at_risk as (
        select e.*, s.risk_window_start + case s.start_anchor when 'cohort end' then e.cohort_end else 0 end as risk_start,
               least(s.risk_window_end + case s.end_anchor when 'cohort end' then e.cohort_end else 0 end, e.observed_end,
                     case when s.restrict_tar_to_cohort_end and e.longest > 0 then e.cohort_end end) as risk_end
          from exposure e, setting s
         where (e.number = 1 or not s.first_exposure_only) and e.observed_before >= s.washout_period
           and not exists (
               select from jsonb_array_elements(rule -> 'exclude') as x (id), ehrdb.cohort_row(x.id::integer) c
                where c.subject_id = e.subject_id and c.cohort_start_date <= e.day)
    ), outcome as materialized (
        select o.subject_id, o.cohort_start_date from setting s, ehrdb.cohort_row(s.outcome) o
    ), judged as (
        select r.*, exists (
                   select from outcome o
                    where o.subject_id = r.subject_id
                      and o.cohort_start_date - r.day between r.risk_start and r.risk_end) as is_positive
          from at_risk r, setting s
         where not s.remove_subjects_with_prior_outcome or not exists (
               select from outcome o
                where o.subject_id = r.subject_id and o.cohort_start_date - r.day < r.risk_start
                  and o.cohort_start_date - r.day > -s.prior_outcome_lookback)
    )
    select j.subject_id, j.day + time '23:59', j.is_positive::integer
      from judged j, setting s
     where case when not s.require_time_at_risk then j.risk_end >= j.risk_start
                else (j.is_positive and s.include_all_outcomes) or j.risk_end >= j.risk_start + s.min_time_at_risk end
     order by j.subject_id, j.day;
end;

comment on function ehrdb.labels_cohort(jsonb) is
'A task between OMOP cohorts, as OHDSI''s PatientLevelPrediction makes its study population: at the end of each index day
(23:59) of the target cohort, does the outcome cohort begin within the time at risk? Left out is also who was in an
excluded cohort by then.';
