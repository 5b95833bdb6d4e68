-- name: are_plain
-- whether PostgreSQL writes every time as the files do (an error where it cannot read one at all)
select coalesce(bool_and(octet_length(r.start) = 19 and r.start::timestamp::text = r.start
                         and (r."end" is null or octet_length(r."end") in (0, 19)
                                                 and coalesce(nullif(r."end", '')::timestamp::text, '') = r."end")), true)
  from pg_temp.raw_ehrshot r;

-- name: number_events
-- rows as events in order of seconds, then of rows; only then are times cut to minutes, as in FEMR.
create temp table event_numbered on commit drop as
select e.patient_id, date_bin('1 minute', e.time, '2000-01-01') as time, e.end_time,
       (row_number() over (partition by e.patient_id order by date_bin('1 second', e.time, '2000-01-01'), e.row)
        - 1)::integer as ordinal,
       e.code, e.unit, e.numeric_value, e.text_value, e.visit_id, e.visit_class, e.source_table, null::jsonb as extra
  from (
    select r.row, ehrdb.to_bigint(r.patient_id) as patient_id,
           case when %(plain_times)s then r.start::timestamp else ehrdb.to_time(r.start) end as time,
           case when %(plain_times)s then nullif(r."end", '')::timestamp
                else ehrdb.to_time(nullif(r."end", '')) end as end_time,
           nullif(r.code, '') as code, nullif(r.unit, '') as unit, r.number as numeric_value,
           -- Text is what FEMR's grammar of numbers does not cover.
           case when r.number is null then nullif(r.value, '') end as text_value,
           -- 11 and 11.0 are one visit.
           case when strpos(r.visit_id, '.') > 0 then coalesce(ehrdb.to_bigint(r.visit_id)::text, r.visit_id)
                else nullif(r.visit_id, '') end as visit_id,
           case when r.code like 'Visit/%%' then
                case when r.code = 'Visit/IP' and r.omop_table = 'visit_occurrence' then 'inpatient'
                     when r.code in ('Visit/ER', 'Visit/ERIP') then 'emergency'
                     when r.code = 'Visit/OP' then 'outpatient'
                     else 'other' end
                when r.omop_table = 'visit_detail'
                 and exists (select from ehrdb.icu_care_site s where s.code = r.code) then 'icu' end as visit_class,
           nullif(r.omop_table, '') as source_table
      from (select raw.*, ehrdb.to_value(raw.value) as number from pg_temp.raw_ehrshot raw offset 0) r
     offset 0
  ) e;

-- name: any_broken
-- whether a row could not be read as an event
select count(*) filter (where n.patient_id is null or n.time is null or n.code is null) > 0
       or count(n.end_time) <> (select count(nullif(r."end", '')) from pg_temp.raw_ehrshot r)
  from pg_temp.event_numbered n;

-- name: find_broken
-- which, and why
insert into pg_temp.load_problem (source_table, row, column_name, problem)
select 'ehrshot', r.row, column_name, problem
  from pg_temp.raw_ehrshot r
 cross join lateral (values
       ('patient_id', 'is not a whole number', ehrdb.to_bigint(r.patient_id) is null),
       ('start', 'is not a date or time', ehrdb.to_time(r.start) is null),
       ('code', 'is empty', nullif(r.code, '') is null),
       ('end', 'is not a date or time', nullif(r."end", '') is not null and ehrdb.to_time(r."end") is null)
       ) as rule (column_name, problem, is_broken)
 where rule.is_broken;

-- name: stage_full_concepts
-- codes with concept ids and standard flags
insert into pg_temp.concept_staging (code, concept_id, description, standard_concept)
select code, ehrdb.to_bigint(to_jsonb(c) ->> 'concept_id'), description, nullif(to_jsonb(c) ->> 'standard_concept', '')
  from pg_temp.raw_concept_full c;

-- name: stage_concepts
-- codes with descriptions; they win over those of concept_full
update pg_temp.concept_staging s set description = c.description
  from pg_temp.raw_concept c where c.code = s.code;
insert into pg_temp.concept_staging (code, description)
select c.code, c.description from pg_temp.raw_concept c
 where not exists (select from pg_temp.concept_staging s where s.code = c.code);

-- name: stage_parents
-- Is-a edges
insert into pg_temp.concept_parent_staging (child_code, parent_code)
select child_code, parent_code from pg_temp.raw_concept_parent;

-- name: stage_custom_texts
-- texts that replace a vocabulary's own
insert into pg_temp.custom_text_staging (vocabulary, code, description)
select vocabulary, code, coalesce(description, '') from pg_temp.raw_custom_codes;

-- name: split_table
-- train, val or test per patient
create temp table split_staging (patient_id bigint primary key, split text) on commit drop;

-- name: stage_splits
-- as the benchmark ships them
insert into pg_temp.split_staging (patient_id, split)
select ehrdb.to_bigint(omop_person_id), split from pg_temp.raw_person_id_map;

-- name: stage_patients
-- demographics from the first event and from demographic codes
insert into pg_temp.patient_staging (patient_id, birth_time, death_time, sex, race, ethnicity, split)
with life as (
    select patient_id, min(time) as birth_time,
           min(time) filter (where code in ('SNOMED/419620001', 'Death Type/OMOP generated')) as death_time
      from pg_temp.event_numbered group by patient_id
), demographic as (
    select e.patient_id, min(substr(e.code, 8)) filter (where e.code like 'Gender/%') as sex,
           min(coalesce(c.description, substr(e.code, 6))) filter (where e.code like 'Race/%') as race,
           min(coalesce(c.description, substr(e.code, 11))) filter (where e.code like 'Ethnicity/%') as ethnicity
      from pg_temp.event_numbered e
      left join pg_temp.concept_staging c on c.code = e.code
     where e.code like 'Gender/%' or e.code like 'Race/%' or e.code like 'Ethnicity/%'
     group by e.patient_id
)
select patient_id, l.birth_time, l.death_time, d.sex, d.race, d.ethnicity, s.split
  from life l
  left join demographic d using (patient_id)
  left join pg_temp.split_staging s using (patient_id);

-- name: check_reports
-- rows that cannot be reports
insert into pg_temp.load_problem (source_table, row, column_name, problem)
select 'chexpert', row, column_name, problem
  from pg_temp.raw_chexpert r
 cross join lateral (values
       ('patient_id', 'is not a whole number', ehrdb.to_bigint(r.patient_id) is null),
       ('start', 'is not a date or time', ehrdb.to_time(r.start) is null)
       ) as rule (column_name, problem, is_broken)
 where rule.is_broken;

-- name: stage_reports
-- 14 findings as bits, the first the most significant; only 1 counts as present
insert into pg_temp.report_staging (patient_id, time, findings)
select ehrdb.to_bigint(r.patient_id) as patient_id, ehrdb.to_time(r.start) as time,
       (select sum(case when ehrdb.to_value(to_jsonb(r) ->> f.name) = 1 then 1 << (14 - f.position::integer) else 0 end)
          from unnest(array['no finding', 'enlarged cardiomediastinum', 'cardiomegaly', 'lung lesion', 'lung opacity',
                            'edema', 'consolidation', 'pneumonia', 'atelectasis', 'pneumothorax', 'pleural effusion',
                            'pleural other', 'fracture', 'support devices']) with ordinality as f (name, position)
       )::integer as findings
  from pg_temp.raw_chexpert r;
