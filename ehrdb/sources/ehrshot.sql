-- are_plain: whether PostgreSQL writes every time as the file does (an error where one cannot be read at all)
select coalesce(bool_and(octet_length(r.start) = 19 and r.start::timestamp::text = r.start), true) from pg_temp.raw_event r;

-- stage_events: rows as events; text is what FEMR's grammar of numbers does not cover
insert into pg_temp.event_staging (patient_id, row, time, end_time, code, numeric_value, text_value, unit, visit_id,
                                   visit_class, source_table)
select ehrdb.to_bigint(r.patient_id), r.row,
       case when %(plain_times)s then r.start::timestamp else ehrdb.to_time(r.start) end,
       ehrdb.to_time(nullif(r."end", '')), nullif(r.code, ''),
       r.number, case when r.number is null then nullif(r.value, '') end,
       nullif(r.unit, ''), nullif(r.visit_id, ''),
       case when r.code like 'Visit/%%' then
            case when r.code = 'Visit/IP' and r.omop_table = 'visit_occurrence' then 'inpatient'
                 when r.code in ('Visit/ER', 'Visit/ERIP') then 'emergency'
                 when r.code = 'Visit/OP' then 'outpatient'
                 else 'other' end
            when r.omop_table = 'visit_detail'
             and exists (select from ehrdb.icu_care_site s where s.code = r.code) then 'icu' end,
       nullif(r.omop_table, '')
  from (select e.*, ehrdb.to_value(e.value) as number from pg_temp.raw_event e offset 0) r;

-- check_events: rows that cannot be events
insert into pg_temp.load_problem (file, source_table, row, column_name, problem)
select %(file)s, 'ehrshot', row, column_name, problem
  from pg_temp.event_staging e
 cross join lateral (values
       ('patient_id', 'is not a whole number', e.patient_id is null),
       ('start', 'is not a date or time', e.time is null),
       ('code', 'is empty', e.code is null)
       ) as rule (column_name, problem, is_broken)
 where (e.patient_id is null or e.time is null or e.code is null) and rule.is_broken
union all
select %(file)s, 'ehrshot', row, 'end', 'is not a date or time'
  from pg_temp.raw_event r
 where nullif(r."end", '') is not null and ehrdb.to_time(r."end") is null;

-- next_file: its rows are staged
truncate pg_temp.raw_event;

-- stage_full_concepts: codes with concept ids and standard flags
insert into pg_temp.concept_staging (code, concept_id, description, standard_concept)
select code, ehrdb.to_bigint(to_jsonb(c) ->> 'concept_id'), description, nullif(to_jsonb(c) ->> 'standard_concept', '')
  from pg_temp.raw_concept_full c;

-- stage_concepts: codes with descriptions; they win over those of concept_full
update pg_temp.concept_staging s set description = c.description
  from pg_temp.raw_concept c where c.code = s.code;
insert into pg_temp.concept_staging (code, description)
select c.code, c.description from pg_temp.raw_concept c
 where not exists (select from pg_temp.concept_staging s where s.code = c.code);

-- stage_parents: Is-a edges
insert into pg_temp.concept_parent_staging (child_code, parent_code)
select child_code, parent_code from pg_temp.raw_parent;

-- stage_custom_texts: texts that replace a vocabulary's own
insert into pg_temp.custom_text_staging (vocabulary, code, description)
select vocabulary, code, coalesce(description, '') from pg_temp.raw_custom;

-- split_table: train, val or test per patient
create temp table split_staging (patient_id bigint primary key, split text) on commit drop;

-- stage_splits: as the benchmark ships them
insert into pg_temp.split_staging (patient_id, split)
select ehrdb.to_bigint(omop_person_id), split from pg_temp.raw_split;

-- stage_patients: demographics from the first event and from demographic codes
insert into pg_temp.patient_staging (patient_id, birth_time, death_time, sex, race, ethnicity, split)
with life as (
    select patient_id, min(time) as birth_time,
           min(time) filter (where code in ('SNOMED/419620001', 'Death Type/OMOP generated')) as death_time
      from pg_temp.event_staging group by patient_id
), demographic as (
    select e.patient_id, min(substr(e.code, 8)) filter (where e.code like 'Gender/%') as sex,
           min(coalesce(c.description, substr(e.code, 6))) filter (where e.code like 'Race/%') as race,
           min(coalesce(c.description, substr(e.code, 11))) filter (where e.code like 'Ethnicity/%') as ethnicity
      from pg_temp.event_staging e
      left join pg_temp.concept_staging c on c.code = e.code
     where e.code like 'Gender/%' or e.code like 'Race/%' or e.code like 'Ethnicity/%'
     group by e.patient_id
)
select patient_id, l.birth_time, l.death_time, d.sex, d.race, d.ethnicity, s.split
  from life l
  left join demographic d using (patient_id)
  left join pg_temp.split_staging s using (patient_id);

-- check_reports: rows that cannot be reports
insert into pg_temp.load_problem (file, source_table, row, column_name, problem)
select %(file)s, 'chexpert', row, column_name, problem
  from pg_temp.raw_report r
 cross join lateral (values
       ('patient_id', 'is not a whole number', ehrdb.to_bigint(r.patient_id) is null),
       ('start', 'is not a date or time', ehrdb.to_time(r.start) is null)
       ) as rule (column_name, problem, is_broken)
 where rule.is_broken;

-- stage_reports: 14 findings as bits, the first the most significant; only 1 counts as present
insert into pg_temp.report_staging (patient_id, time, findings)
select ehrdb.to_bigint(r.patient_id) as patient_id, ehrdb.to_time(r.start) as time,
       (select sum(case when ehrdb.to_value(to_jsonb(r) ->> f.name) = 1 then 1 << (14 - f.position::integer) else 0 end)
          from unnest(array['no finding', 'enlarged cardiomediastinum', 'cardiomegaly', 'lung lesion', 'lung opacity',
                            'edema', 'consolidation', 'pneumonia', 'atelectasis', 'pneumothorax', 'pleural effusion',
                            'pleural other', 'fracture', 'support devices']) with ordinality as f (name, position)
       )::integer as findings
  from pg_temp.raw_report r;
