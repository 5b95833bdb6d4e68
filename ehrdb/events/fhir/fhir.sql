-- name: tables
-- resources as they are read. `row` says where one stands, `reason` why it is no event; parts are events of one resource
create temp table fhir_patient (
    row bigint, resource text, id text, updated timestamp, digest bigint, number text, reason text, patient_id bigint
) on commit drop;
create temp table fhir_medication (
    row bigint, resource text, id text, updated timestamp, digest bigint, code text, is_known boolean
) on commit drop;
create temp table fhir_event (
    row bigint, resource text, id text, updated timestamp, digest bigint, part integer, patient text, visit text, part_of text,
    time timestamp, end_time timestamp, code text, is_known boolean, detail text, medication text,
    number text, text_value text, unit text, visit_class text, extra jsonb, reason text
) on commit drop;

-- name: copy_patients
-- a batch of persons
copy pg_temp.fhir_patient (row, resource, id, updated, digest, number, reason) from stdin;

-- name: copy_medications
-- a batch of medications that others refer to
copy pg_temp.fhir_medication from stdin;

-- name: copy_events
-- a batch of all other resources, and of persons' facts
copy pg_temp.fhir_event from stdin;

-- name: copy_concepts
-- descriptions
copy pg_temp.concept_staging (code, description) from stdin;

-- name: drop_older
-- of a resource that stands there again the version that was written last; which of two that do not say so is the right one
-- nobody knows
create temp table fhir_older on commit drop as
with version as (
    select resource, id, row, updated, digest from pg_temp.fhir_patient
    union all select resource, id, row, updated, digest from pg_temp.fhir_medication
    union all select resource, id, row, updated, digest from pg_temp.fhir_event where part = 0 and resource <> 'Patient'
), again as (
    select resource, id from version group by resource, id having count(*) > 1
)
select v.resource, v.id, v.row,
       row_number() over version > 1 as is_older,
       first_value(v.digest) over version <> v.digest and first_value(v.updated) over version is not distinct from v.updated
           as is_unclear
  from version v join again using (resource, id)
window version as (partition by v.resource, v.id order by v.updated desc nulls last, v.row);
create index on pg_temp.fhir_older (row, resource, id);
delete from pg_temp.fhir_patient p using pg_temp.fhir_older o
 where (p.row, p.resource, p.id) = (o.row, o.resource, o.id) and o.is_older;
delete from pg_temp.fhir_medication m using pg_temp.fhir_older o
 where (m.row, m.resource, m.id) = (o.row, o.resource, o.id) and o.is_older;
delete from pg_temp.fhir_event e using pg_temp.fhir_older o
 where (e.row, e.resource, e.id) = (o.row, o.resource, o.id) and o.is_older;
insert into pg_temp.load_remark (source_table, remark, rows)
select resource, 'stands there again, an older version or the same', count(*)
  from pg_temp.fhir_older where is_older group by resource;

-- name: number_patients
-- numbers that are ids stay what they are, other ids have a number that is made of them
update pg_temp.fhir_patient p
   set patient_id = case when p.number is not null then ehrdb.to_bigint(p.number) else ehr.fhir_patient(p.id) end
 where true;
create index on pg_temp.fhir_patient (id);
create index on pg_temp.fhir_medication (id);
analyze pg_temp.fhir_patient;
analyze pg_temp.fhir_medication;
analyze pg_temp.fhir_event;

-- name: find_medications
-- the code of a medication that stands elsewhere
update pg_temp.fhir_event e set code = m.code, is_known = m.is_known
  from pg_temp.fhir_medication m
 where m.id = e.medication and m.code is not null;

-- name: find_visits
-- what is part of another encounter is a detail of the outermost one, and no visit of its own
create temp table fhir_visit on commit drop as
select e.row, e.id, e.patient, e.part_of, e.id as root, e.time
  from pg_temp.fhir_event e where e.resource = 'Encounter' and e.reason is null;
create index on pg_temp.fhir_visit (id);
analyze pg_temp.fhir_visit;
with recursive above as (
    select v.id, v.patient, o.id as outer_id, o.part_of, array[v.id, o.id] as path
      from pg_temp.fhir_visit v
      join pg_temp.fhir_visit o on o.id = v.part_of and o.patient = v.patient and o.id <> v.id
    union all
    select a.id, a.patient, o.id, o.part_of, a.path || o.id
      from above a
      join pg_temp.fhir_visit o on o.id = a.part_of and o.patient = a.patient and o.id <> all (a.path)
)
update pg_temp.fhir_visit v set root = a.outer_id
  from (select distinct on (id) id, outer_id from above order by id, cardinality(path) desc) a
 where a.id = v.id;
update pg_temp.fhir_event e
   set visit_class = null, code = e.detail, visit = v.root,
       reason = case when e.detail is null then 'part of another encounter, without a type' end
  from pg_temp.fhir_visit v
 where v.row = e.row and e.resource = 'Encounter' and v.root <> v.id;
update pg_temp.fhir_event e
   set visit = v.root, time = coalesce(e.time, v.time)
  from pg_temp.fhir_visit v
 where v.id = e.visit and v.patient = e.patient and e.resource <> 'Encounter' and (v.root <> v.id or e.time is null);

-- name: leave_out
-- what has no time is known at no moment
update pg_temp.fhir_event set reason = 'has no date or time'
 where reason is null and time is null and resource <> 'Patient';

-- name: check
-- references that lead nowhere, and two patients of one number
insert into pg_temp.load_problem (source_table, row, column_name, problem)
select 'FHIR', o.row, o.resource || '.id', 'stands there again, with another content and no later meta.lastUpdated'
  from pg_temp.fhir_older o where o.is_unclear
union all
select 'FHIR', p.row, 'Patient.id', 'has the number of another patient'
  from pg_temp.fhir_patient p
  join (select patient_id from pg_temp.fhir_patient group by patient_id having count(*) > 1) shared using (patient_id)
union all
select 'FHIR', p.row, 'Patient.identifier', 'is no 64-bit whole number' from pg_temp.fhir_patient p where p.patient_id is null
union all
select 'FHIR', e.row, e.resource || case when e.resource = 'Immunization' then '.patient' else '.subject' end,
       'is no patient of the source'
  from pg_temp.fhir_event e
 where e.part = 0 and e.reason is null and not exists (select from pg_temp.fhir_patient p where p.id = e.patient)
union all
select 'FHIR', e.row, e.resource || '.medicationReference', 'is no Medication of the source that has a code'
  from pg_temp.fhir_event e where e.reason is null and e.code is null and e.medication is not null;

-- name: reject
-- leave the resources with problems out
update pg_temp.fhir_event e set reason = b.column_name || ': ' || b.problem
  from pg_temp.load_problem b where b.source_table = 'FHIR' and b.row = e.row and e.reason is null;
delete from pg_temp.fhir_patient p using pg_temp.load_problem b where b.source_table = 'FHIR' and b.row = p.row;
update pg_temp.fhir_event e set reason = 'is of a rejected patient'
 where e.reason is null and not exists (select from pg_temp.fhir_patient p where p.id = e.patient and p.reason is null);

-- name: stage_events
-- events in an order that does not depend on that of the files: ties within a second go by type, then id
insert into pg_temp.event_staging (patient_id, row, time, end_time, code, numeric_value, text_value, unit, visit_id,
                                   visit_class, source_table, extra)
select p.patient_id,
       row_number() over (order by e.code = 'SNOMED/419620001' and e.resource = 'Patient',
                          array_position(%(order)s::text[], e.resource), e.id, e.part),
       coalesce(e.time, '-infinity'), e.end_time, e.code, ehrdb.to_value(e.number), e.text_value, e.unit, e.visit,
       e.visit_class, e.resource, e.extra
  from pg_temp.fhir_event e
  join pg_temp.fhir_patient p on p.id = e.patient
 where e.reason is null;

-- name: stage_patients
-- one row per person, whoever has no fact at all included
insert into pg_temp.patient_staging (patient_id, birth_time, death_time, sex, race, ethnicity)
select p.patient_id, min(e.time) filter (where e.code = 'SNOMED/3950001'), min(e.time) filter (where e.code = 'SNOMED/419620001'),
       min(substr(e.code, 8)) filter (where starts_with(e.code, 'Gender/')),
       string_agg(c.description, ', ' order by e.code) filter (where starts_with(e.code, 'Race/')),
       min(c.description) filter (where starts_with(e.code, 'Ethnicity/'))
  from pg_temp.fhir_patient p
  left join pg_temp.fhir_event e on e.resource = 'Patient' and e.row = p.row and e.id = p.id
  left join pg_temp.concept_staging c on c.code = e.code
 where p.reason is null
 group by p.patient_id;

-- name: remarks
-- what is worth a look though it is loaded
insert into pg_temp.load_remark (source_table, remark, rows)
select e.resource, rule.remark, count(*)
  from pg_temp.fhir_event e
 cross join lateral (values ('ends before it starts', e.end_time < e.time),
                            ('values of components', e.extra ? 'part_of'),
                            ('detail of another encounter', e.resource = 'Encounter' and e.visit_class is null),
                            ('has further codes, kept aside', e.extra ? 'other_codes'),
                            ('names a visit that is not there', e.visit is not null and e.resource <> 'Encounter'
                                and not exists (select from pg_temp.fhir_visit v where v.id = e.visit and v.patient = e.patient))
                    ) as rule (remark, applies)
 where rule.applies and e.reason is null
 group by e.resource, rule.remark;

-- name: reports
-- what became of each type's resources: one is one, whatever events it becomes
select resource, count(distinct row) filter (where reason is null and part = 0),
       count(*) filter (where reason is null and not is_known and resource <> 'Patient'),
       count(distinct row) filter (where reason is not null and part = 0)
  from pg_temp.fhir_event group by resource;

-- name: reasons
-- why resources were left out
select resource, reason, count(distinct row) from pg_temp.fhir_event where reason is not null and part = 0
 group by resource, reason order by resource, reason;
