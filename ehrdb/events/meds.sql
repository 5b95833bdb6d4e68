-- name: copy_events
-- a batch into the common stream
copy pg_temp.event_staging (patient_id, row, time, code, numeric_value, text_value, unit, visit_id, visit_class,
                            source_table, end_time, extra)
from stdin (format csv);

-- name: copy_digests
-- of each subject
copy pg_temp.patient_digest (patient_id, digest) from stdin (format csv);

-- name: mark_visits
-- admissions are visits that last until the next discharge of the same visit; without a visit's id its end is unknown
-- where another admission comes first
with boundary as (
    select e.row, e.visit_id, kind.visit_class, starts_with(e.code, kind.admission) as is_start,
           min(e.time) filter (where starts_with(e.code, kind.admission)) over (
               partition by e.patient_id, kind.visit_class order by e.time
               range between interval '1 microsecond' following and unbounded following) as next_start,
           min(e.time) filter (where not starts_with(e.code, kind.admission)) over (
               partition by e.patient_id, kind.visit_class order by e.time
               range between current row and unbounded following) as next_end,
           min(e.time) filter (where not starts_with(e.code, kind.admission)) over (
               partition by e.patient_id, kind.visit_class, e.visit_id order by e.time
               range between current row and unbounded following) as own_end
      from pg_temp.event_staging e
      join (values ('inpatient', %(admission)s, %(discharge)s),
                   ('icu', %(icu_admission)s, %(icu_discharge)s)) as kind (visit_class, admission, discharge)
        on starts_with(e.code, kind.admission) or starts_with(e.code, kind.discharge)
), visit as materialized (
    select s.row, s.visit_class,
           case when s.visit_id is not null then s.own_end
                when s.next_end <= coalesce(s.next_start, 'infinity') then s.next_end end as end_time
      from boundary s
     where s.is_start
)
update pg_temp.event_staging e
   set visit_class = visit.visit_class, end_time = coalesce(visit.end_time, e.end_time)
  from visit
 where e.row = visit.row;

-- name: mark_encounters
-- visits as OMOP has them, each one row with its end; their names are those of EHRSHOT
update pg_temp.event_staging
   set visit_class = case when code in ('Visit/IP', 'Visit/ERIP') then 'inpatient' when code = 'Visit/ER' then 'emergency'
                          when code = 'Visit/OP' then 'outpatient' else 'other' end
 where starts_with(code, 'Visit/') and visit_class is null;

-- name: stand_in_visits
-- where no event names a visit, each stands in the one that is going on then; an open one lasts until the next begins.
-- So what came later says nothing about an event.
with visit as materialized (
    select patient_id, row, time, to_char(time, 'YYYY-MM-DD"T"HH24:MI:SS') as visit_id,
           coalesce(end_time, lead(time) over (partition by patient_id order by time, row) - interval '1 microsecond', 'infinity') as until
      from pg_temp.event_staging
     where isfinite(time) and (visit_class in ('inpatient', 'emergency') or visit_class <> 'icu' and end_time is not null)
), inside as materialized (
    select distinct on (e.row) e.row, v.visit_id
      from pg_temp.event_staging e
      join visit v on v.patient_id = e.patient_id and v.time <= e.time and e.time <= v.until
     order by e.row, (v.row = e.row) desc, v.time desc, v.row desc
)
update pg_temp.event_staging e set visit_id = inside.visit_id from inside where e.row = inside.row;

-- name: remarks
-- what is worth a look though it is loaded
insert into pg_temp.load_remark (source_table, remark, rows)
select 'data', 'no event is a visit: see --admission, --discharge and --end-column', 0
 where not exists (select from pg_temp.event_staging where visit_class is not null)
union all
select 'data', 'admission without a discharge', count(*) from pg_temp.event_staging
 where visit_class is not null and end_time is null having count(*) > 0
union all
select 'data', 'ends before it starts', count(*) from pg_temp.event_staging where end_time < time having count(*) > 0
union all
select 'data', 'has another death', count(*) - count(distinct patient_id)
  from pg_temp.event_staging where code = 'MEDS_DEATH' having count(*) > count(distinct patient_id);

-- name: copy_codes
-- descriptions
copy pg_temp.concept_staging (code, description) from stdin (format csv);

-- name: copy_parents
-- parents of codes
copy pg_temp.concept_parent_staging (child_code, parent_code) from stdin (format csv);

-- name: split_table
-- split per patient
create temp table split_staging (patient_id bigint primary key, split text) on commit drop;

-- name: copy_splits
-- as the data set has them
copy pg_temp.split_staging (patient_id, split) from stdin (format csv);

-- name: stage_patients
-- demographics from MEDS's own codes, and from OMOP's; of several deaths the last
insert into pg_temp.patient_staging (patient_id, birth_time, death_time, sex, race, ethnicity, split)
select e.patient_id, min(e.time) filter (where e.code = 'MEDS_BIRTH'), max(e.time) filter (where e.code = 'MEDS_DEATH'),
       min(case when starts_with(e.code, 'GENDER//') then substr(e.code, 9)
                when starts_with(e.code, 'Gender/') then substr(e.code, 8) end),
       min(case when starts_with(e.code, 'RACE//') then substr(e.code, 7)
                when starts_with(e.code, 'Race/') then c.description end),
       min(case when starts_with(e.code, 'Ethnicity/') then c.description end),
       min(s.split)
  from pg_temp.event_staging e
  left join pg_temp.split_staging s on s.patient_id = e.patient_id
  left join pg_temp.concept_staging c on c.code = e.code and (starts_with(e.code, 'Race/') or starts_with(e.code, 'Ethnicity/'))
 group by e.patient_id;

-- name: export_events
-- everything, patient by patient in order; births and deaths by MEDS's codes
copy (select e.patient_id as subject_id, nullif(e.time, '-infinity') as time,
             case c.code when 'SNOMED/3950001' then 'MEDS_BIRTH' when 'SNOMED/419620001' then 'MEDS_DEATH' else c.code end as code,
             e.numeric_value, e.text_value, e.visit_id as visit, u.unit, e.end_time as "end", e.visit_class,
             e.source_table as "table", e.extra
        from ehrdb.event e
        join ehrdb.concept c using (code_id)
        left join ehrdb.unit u using (unit_id)
       order by e.patient_id, e.time, e.ordinal)
  to stdout (format csv, header);

-- name: extra_columns
-- columns that MEDS does not name, with the kind of value they hold
select k.key, min(case when jsonb_typeof(k.value) <> 'number' then jsonb_typeof(k.value)
                       when k.value::text ~ '^-?\d+$' then 'integer' else 'number' end)
  from ehrdb.event e cross join jsonb_each(e.extra) k
 where jsonb_typeof(k.value) <> 'null'
 group by k.key order by k.key;

-- name: export_codes
-- descriptions and parents; those of births and deaths under MEDS's codes, with their own as parents
select code, description, nullif(parents, '{}') from ehr.concept where code not in ('SNOMED/3950001', 'SNOMED/419620001')
                                                                  and code not in ('MEDS_BIRTH', 'MEDS_DEATH')
union all
select meds.code, coalesce(max(c.description) filter (where c.code <> meds.code), max(c.description)),
       array_agg(c.code) filter (where c.code <> meds.code)
  from (values ('MEDS_BIRTH', 'SNOMED/3950001'), ('MEDS_DEATH', 'SNOMED/419620001')) as meds (code, snomed)
  join ehr.concept c on c.code in (meds.code, meds.snomed)
 group by meds.code
 order by 1;

-- name: export_splits
-- splits that patients have
select patient_id, split from ehrdb.patient where split is not null order by patient_id;
