-- name: whole_digest
-- of files and settings, and of the care sites by which rows are read
select sha256(%(digest)s || convert_to(coalesce(string_agg(code, ',' order by code), ''), 'UTF8'))
  from ehrdb.icu_care_site;

-- name: same_again
-- patients of a source whose files and settings are those of its last load
select s.patients from ehrdb.source s
 where s.source = %(source)s and s.digest = %(digest)s
   and s.patients = (select count(*) from ehrdb.patient p where p.source = s.source);

-- name: last_reports
-- what became of each table's rows then
select source_table, rows_read, rows_loaded, rows_unmapped, rows_rejected, reasons
  from ehrdb.load_report
 where load_id = (select max(load_id) from ehrdb.load_report where source = %(source)s)
 order by ctid;

-- name: remember
-- what this load left, for same_again
insert into ehrdb.source as s (source, digest, patients)
select %(source)s, %(digest)s, count(*) from ehrdb.patient where source = %(source)s
on conflict (source) do update set digest = excluded.digest, patients = excluded.patients;

-- name: roomy
-- millions of rows are sorted three times; with less memory each goes through files
select set_config('work_mem', '256MB', true)
 where pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('256MB');

-- name: staging
-- the common stream that every source is turned into
create temp table event_staging (
    patient_id bigint, row bigint not null, time timestamp, end_time timestamp, code text,
    numeric_value real, text_value text, unit text, visit_id text, visit_class text, source_table text,
    extra jsonb
) on commit drop;
create temp table patient_staging (
    patient_id bigint, birth_time timestamp, death_time timestamp, sex text, race text, ethnicity text, split text
) on commit drop;
create temp table concept_staging (
    code text, concept_id bigint, description text, standard_concept text, extra jsonb
) on commit drop;
create temp table concept_parent_staging (child_code text, parent_code text) on commit drop;
create temp table custom_text_staging (vocabulary text, code text, description text) on commit drop;
create temp table report_staging (patient_id bigint, time timestamp, findings integer) on commit drop;
create temp table load_problem (file text, source_table text, row bigint, column_name text, problem text) on commit drop;

-- name: first_problem
-- where to look first, and how many problems there are
select file, row, column_name, problem, count(*) over () from pg_temp.load_problem order by file, row limit 1;

-- name: number_events
-- each patient's events in order; the source's row order breaks ties. Fingerprints hash these columns.
create temp table event_numbered on commit drop as
select s.patient_id, s.time, s.end_time,
       (row_number() over (partition by s.patient_id order by date_bin('1 second', s.time, '2000-01-01'), s.row)
        - 1)::integer as ordinal,
       s.code, s.unit, s.numeric_value, s.text_value, s.visit_id, s.visit_class, s.source_table, s.extra
  from pg_temp.event_staging s;

-- name: oddities
-- events that may be as they are but deserve a look
select count(*), count(*) filter (where n.time < s.birth_time and isfinite(n.time)) as before_birth,
       count(*) filter (where n.time > s.death_time) as after_death,
       count(*) filter (where n.time > now()::timestamp and isfinite(n.time)) as in_the_future
  from pg_temp.event_numbered n join pg_temp.patient_staging s using (patient_id);

-- name: compare
-- which patients are new, changed, unchanged or gone, by fingerprints of everything they have
create temp table patient_change on commit drop as
with hashed as (
    select n.patient_id, count(*) as events,
           sum(hash_record_extended(n, 1)) as first, sum(hash_record_extended(n, 2)) as second
      from pg_temp.event_numbered n group by n.patient_id
), incoming as (
    select s.patient_id,
           sha256(convert_to(concat_ws('|', s.*::text, h.events, h.first, h.second), 'UTF8')) as fingerprint
      from pg_temp.patient_staging s left join hashed h using (patient_id)
)
select coalesce(i.patient_id, p.patient_id) as patient_id, i.fingerprint,
       case when p.patient_id is null then 'new' when i.patient_id is null then 'removed'
            when p.fingerprint = i.fingerprint then 'unchanged' else 'changed' end as change
  from incoming i
  full join (select * from ehrdb.patient where source = %(source)s) p using (patient_id);

-- name: any_incoming
-- whether the source has anybody
select from pg_temp.patient_staging limit 1;

-- name: index_changes
-- they are joined many times
create index on pg_temp.patient_change (patient_id);
analyze pg_temp.patient_change;

-- name: keep_missing
-- patients that the source no longer has stay
update pg_temp.patient_change set change = 'unchanged' where change = 'removed';

-- name: foreign_patient
-- a patient id that another source holds
select p.patient_id, p.source, count(*) over ()
  from ehrdb.patient p join pg_temp.patient_change c using (patient_id)
 where p.source <> %(source)s
 order by p.patient_id limit 1;

-- name: count_changes
-- how many of each
select change, count(*) from pg_temp.patient_change group by change;

-- name: purge_removed
-- patients that are gone, and the events of those that changed
select ehrdb.purge_patients(array(select patient_id from pg_temp.patient_change where change = 'removed'));
delete from ehrdb.event e using pg_temp.patient_change c where c.patient_id = e.patient_id and c.change = 'changed';

-- name: add_concepts
-- codes and units that are new, descriptions that differ
insert into ehrdb.unit (unit)
select distinct n.unit from pg_temp.event_numbered n
 where n.unit is not null and not exists (select from ehrdb.unit u where u.unit = n.unit)
on conflict do nothing;
create temp table concept_incoming on commit drop as
select distinct on (s.code) s.*, split_part(s.code, '/', 1) as vocabulary
  from pg_temp.concept_staging s where s.code is not null order by s.code, s.concept_id;
insert into ehrdb.concept (code, vocabulary, concept_id, description, standard_concept, extra)
select i.code, i.vocabulary, i.concept_id, i.description, i.standard_concept, i.extra
  from pg_temp.concept_incoming i
 where not exists (select from ehrdb.concept c where c.code = i.code)
on conflict do nothing;
insert into ehrdb.concept (code, vocabulary)
select distinct named.code, split_part(named.code, '/', 1)
  from (select code from pg_temp.event_numbered union all select child_code from pg_temp.concept_parent_staging
        union all select parent_code from pg_temp.concept_parent_staging) named
 where named.code is not null and not exists (select from ehrdb.concept c where c.code = named.code)
on conflict do nothing;
create temp table concept_changed on commit drop as
with updated as (
    update ehrdb.concept c
       set concept_id = i.concept_id, description = i.description, standard_concept = i.standard_concept,
           extra = i.extra
      from pg_temp.concept_incoming i
     where c.code = i.code
       and (c.concept_id, c.description, c.standard_concept, c.extra)
           is distinct from (i.concept_id, i.description, i.standard_concept, i.extra)
    returning c.code_id
), linked as (
    insert into ehrdb.concept_parent (child_id, parent_id)
    select distinct child.code_id, parent.code_id
      from pg_temp.concept_parent_staging s
      join ehrdb.concept child on child.code = s.child_code
      join ehrdb.concept parent on parent.code = s.parent_code
        on conflict do nothing
    returning child_id
), renamed as (
    insert into ehrdb.custom_text as t (vocabulary, code, description)
    select distinct on (vocabulary, lower(trim(code))) vocabulary, lower(trim(code)), description
      from pg_temp.custom_text_staging
        on conflict (vocabulary, code) do update set description = excluded.description
     where t.description is distinct from excluded.description
    returning t.vocabulary
)
select code_id from updated
union select child_id from linked
union select c.code_id from ehrdb.concept c where c.vocabulary in (select vocabulary from renamed);

-- name: mark_described
-- patients whose text changes because a description did
insert into ehrdb.changed_patient (patient_id)
select distinct e.patient_id from ehrdb.event e join pg_temp.concept_changed using (code_id);

-- name: drop_indexes
-- of a table without events; building them at the end is faster than keeping them up to date
create temp table event_index on commit drop as
select i.indexrelid::regclass::text as name, c.conname as constraint_name,
       coalesce('alter table ehrdb.event add constraint ' || quote_ident(c.conname) || ' ' || pg_get_constraintdef(c.oid),
                pg_get_indexdef(i.indexrelid)) as definition
  from pg_index i
  join pg_class t on t.oid = i.indrelid and t.relkind = 'r'
  left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid
 where i.indrelid = 'ehrdb.event'::regclass and not exists (select from ehrdb.event);
do $$
declare
    index record;
begin
    for index in select * from pg_temp.event_index loop
        execute coalesce('alter table ehrdb.event drop constraint ' || quote_ident(index.constraint_name),
                         'drop index ' || index.name);
    end loop;
end
$$;

-- name: build_indexes
-- those that were dropped
do $$
declare
    index record;
begin
    perform set_config('maintenance_work_mem', '256MB', true);
    for index in select * from pg_temp.event_index loop
        execute index.definition;
    end loop;
end
$$;

-- name: insert_events
-- everything of new and changed patients
insert into ehrdb.event (patient_id, time, end_time, valid_to, ordinal, code_id, unit_id, numeric_value, text_value,
                         visit_id, visit_class, source_table, extra)
select n.patient_id, n.time, n.end_time,
       lag(n.time, 1, 'infinity') over (partition by n.patient_id, c.code_id order by n.time desc, n.ordinal),
       n.ordinal, c.code_id, u.unit_id, n.numeric_value, n.text_value, n.visit_id,
       n.visit_class, n.source_table, n.extra
  from pg_temp.event_numbered n
  join pg_temp.patient_change p on p.patient_id = n.patient_id and p.change in ('new', 'changed')
  join ehrdb.concept c on c.code = n.code
  left join ehrdb.unit u on u.unit = n.unit;

-- name: upsert_patients
-- the patients themselves
insert into ehrdb.patient as p (patient_id, source, birth_time, death_time, sex, race, ethnicity, split, fingerprint)
select s.patient_id, %(source)s, s.birth_time, s.death_time, s.sex, s.race, s.ethnicity, s.split, c.fingerprint
  from pg_temp.patient_staging s
  join pg_temp.patient_change c on c.patient_id = s.patient_id and c.change in ('new', 'changed')
on conflict (patient_id) do update
   set birth_time = excluded.birth_time, death_time = excluded.death_time, sex = excluded.sex, race = excluded.race,
       ethnicity = excluded.ethnicity, split = excluded.split, fingerprint = excluded.fingerprint, loaded_at = now();

-- name: mark_loaded
-- their texts are to be compared, demographics included
insert into ehrdb.changed_patient (patient_id)
select patient_id from pg_temp.patient_change where change in ('new', 'changed');

-- name: upsert_reports
-- radiology findings, replaced whole per patient
delete from ehrdb.radiology_report r using pg_temp.report_staging s where s.patient_id = r.patient_id;
insert into ehrdb.radiology_report (patient_id, time, findings)
select s.patient_id, s.time, s.findings from pg_temp.report_staging s join ehrdb.patient p using (patient_id);

-- name: next_load
-- number of this load
select coalesce(max(load_id), 0) + 1 from ehrdb.load_report;

-- name: report
-- one row per table of this load
insert into ehrdb.load_report (load_id, source, source_table, rows_read, rows_loaded, rows_unmapped, rows_rejected, reasons)
values (%(load_id)s, %(source)s, %(source_table)s, %(rows_read)s, %(rows_loaded)s, %(rows_unmapped)s,
        %(rows_rejected)s, %(reasons)s);
