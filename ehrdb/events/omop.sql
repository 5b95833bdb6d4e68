-- name: columns_of
-- columns of a table, view, materialized view or foreign table, in any letter case, their types, and whether we may read
-- them. The information schema would hide materialized views, and whatever we have no right to.
select c.relname, a.attname, a.atttypid::regtype::text, has_column_privilege(c.oid, a.attnum, 'select')
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where n.nspname = %(schema)s and lower(c.relname) = %(table)s and c.relkind in ('r', 'p', 'v', 'm', 'f')
 order by c.relname, a.attnum;

-- name: unread_tables
-- what else stands in a schema; parts of a table are read with it
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v', 'm', 'f') and lower(c.relname) <> all (%(read)s)
   and not exists (select from pg_inherits i where i.inhrelid = c.oid)
 order by c.relname;

-- name: time_zone
-- whether a time zone is known by this name
select from pg_timezone_names where name = %(name)s;

-- name: schema_standing
-- whether one may look into a schema; no row where there is none
select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = %(schema)s;

-- name: omop_tables
-- the shapes that CDM tables are brought into; `faults` names columns that could not be read
create temp table omop_person (
    row bigint, faults text[], person_id bigint, birth_time timestamp, gender_concept_id bigint,
    race_concept_id bigint, ethnicity_concept_id bigint
) on commit drop;
create temp table omop_code (
    row bigint, faults text[], concept_id bigint, vocabulary text, code text, name text, standard_concept text
) on commit drop;
create temp table omop_death (row bigint, faults text[], person_id bigint, time timestamp) on commit drop;
create temp table omop_event (
    table_number integer, source_table text, row bigint, faults text[], words integer, key bigint, person_id bigint,
    concept_id bigint, source_concept_id bigint, source_value text, time timestamp, end_time timestamp,
    visit_id text, numeric_value real, number text, operator_concept_id bigint, source_sign text, value_as_string text,
    value_as_concept_id bigint, value_source_value text, qualifier_concept_id bigint, qualifier_source_value text,
    unit_concept_id bigint, unit text, care_site_id text
) on commit drop;

-- name: read_person
-- year, month and day of birth, or the time where it is known
insert into pg_temp.omop_person
select row, array_remove(array[
           case when cast_person_id is null then 'person_id' end,
           case when birth_datetime is not null and cast_birth_datetime is null then 'birth_datetime' end,
           case when cast_birth_datetime is null and cast_birth_date is null
                then case when year is null then 'year_of_birth' when month is null or month not between 1 and 12
                          then 'month_of_birth' else 'day_of_birth' end end], null),
       cast_person_id, coalesce(cast_birth_datetime, cast_birth_date), ehrdb.to_bigint(gender_concept_id),
       ehrdb.to_bigint(race_concept_id), ehrdb.to_bigint(ethnicity_concept_id)
  from (select r.*, ehrdb.to_bigint(person_id) as cast_person_id, ehrdb.to_time(birth_datetime) as cast_birth_datetime,
               ehrdb.to_time(lpad(year::text, greatest(length(year::text), 4), '0') || '-' || month || '-' || day)
                   as cast_birth_date
          from (select r.*, ehrdb.to_bigint(year_of_birth) as year, ehrdb.to_bigint(coalesce(month_of_birth, '1')) as month,
                       ehrdb.to_bigint(coalesce(day_of_birth, '1')) as day
                  from {raw} r offset 0) r offset 0) r;

-- name: read_concept
-- VOCABULARY/CODE by concept id; concept 0 means none. A concept without a code is known by its id
insert into pg_temp.omop_code
select row, case when cast_concept_id is null then array['concept_id'] else array[]::text[] end, cast_concept_id,
       btrim(vocabulary_id), coalesce(btrim(vocabulary_id) || '/' || btrim(concept_code), 'OMOP/concept:' || cast_concept_id),
       concept_name, standard_concept
  from (select r.*, ehrdb.to_bigint(concept_id) as cast_concept_id from {raw} r offset 0) r
 where cast_concept_id is distinct from 0;

-- name: read_death
-- the time of death
insert into pg_temp.omop_death
select row, array_remove(array[case when cast_person_id is null then 'person_id' end,
                               case when cast_time is null then 'death_date' end], null),
       cast_person_id, cast_time
  from (select r.*, ehrdb.to_bigint(person_id) as cast_person_id,
               coalesce(ehrdb.to_time(death_datetime), ehrdb.to_time(death_date)) as cast_time
          from {raw} r offset 0) r;

-- name: read_events
-- a clinical table in the one shape that all events have
insert into pg_temp.omop_event
select {number}, {table}, row, array_remove(array[
           case when cast_key is null then {key} end,
           case when cast_person_id is null then 'person_id' end,
           case when concept_id is not null and cast_concept_id is null then {concept_id} end,
           case when start_datetime is not null and cast_start_datetime is null then {start_datetime} end,
           case when cast_start_datetime is null and cast_start_date is null then {start_date} end,
           case when end_datetime is not null and cast_end_datetime is null then {end_datetime} end,
           case when end_date is not null and cast_end_date is null then {end_date} end,
           case when value_as_number is not null and cast_value is null then 'value_as_number' end], null),
       words, cast_key, cast_person_id, cast_concept_id, ehrdb.to_bigint(source_concept_id), source_value,
       coalesce(cast_start_datetime, cast_start_date), coalesce(cast_end_datetime, cast_end_date),
       -- 11 and 11.0 are one visit.
       coalesce(ehrdb.to_bigint(visit_id)::text, visit_id), cast_value, btrim(value_as_number),
       ehrdb.to_bigint(operator_concept_id),
       case when value_source_value ~ '^\s*[<>=≤≥]' then ehrdb.source_sign(value_source_value, cast_value) end,
       coalesce(value_as_string, value_as_datetime),
       ehrdb.to_bigint(value_as_concept_id), value_source_value, ehrdb.to_bigint(qualifier_concept_id),
       qualifier_source_value, ehrdb.to_bigint(unit_concept_id), unit_source_value,
       coalesce(ehrdb.to_bigint(care_site_id)::text, care_site_id)
  from (select r.*, ehrdb.to_bigint(key) as cast_key, ehrdb.to_bigint(person_id) as cast_person_id,
               ehrdb.to_bigint(concept_id) as cast_concept_id, ehrdb.to_value(value_as_number) as cast_value,
               ehrdb.to_time(start_date) as cast_start_date, ehrdb.to_time(start_datetime) as cast_start_datetime,
               ehrdb.to_time(end_date) as cast_end_date, ehrdb.to_time(end_datetime) as cast_end_datetime
          from {raw} r offset 0) r;

-- name: tell_apart
-- a code that several concepts share (DRG 014) names each of them only with its concept id
update pg_temp.omop_code c set code = c.code || '#' || c.concept_id
  from (select code from pg_temp.omop_code where code is not null group by code having count(*) > 1) shared
 where shared.code = c.code;

-- name: index_tables
-- events look up their person and their codes
create index on pg_temp.omop_person (person_id);
create index on pg_temp.omop_code (concept_id);
analyze pg_temp.omop_person;
analyze pg_temp.omop_code;
analyze pg_temp.omop_event;

-- name: bounds
-- patients in order, every so-manieth
select id
  from (select id, row_number() over (order by id) - 1 as place
          from (select distinct ehrdb.to_bigint(person_id) as id from pg_temp.raw_person) person
         where id is not null) ranked
 where place %% %(size)s = 0 order by id;

-- name: keep_vocabulary
-- as read, told apart and checked, until the session ends
create temp table omop_vocabulary as table pg_temp.omop_code;
create index on pg_temp.omop_vocabulary (concept_id);
analyze pg_temp.omop_vocabulary;

-- name: narrow_vocabulary
-- what the rows that were read name
insert into pg_temp.omop_code
select v.* from pg_temp.omop_vocabulary v
 where v.concept_id in (
       select id from pg_temp.omop_event e
        cross join lateral (values (e.concept_id), (e.source_concept_id), (e.value_as_concept_id), (e.unit_concept_id),
                                   (e.operator_concept_id), (e.qualifier_concept_id)) as named (id)
       union
       select id from pg_temp.omop_person p
        cross join lateral (values (p.gender_concept_id), (p.race_concept_id), (p.ethnicity_concept_id)) as named (id));

-- name: show_vocabulary
-- all of it, in the place of what a portion names
create temp view omop_code as table pg_temp.omop_vocabulary;

-- name: hide_vocabulary
drop view pg_temp.omop_code;

-- name: left_out
-- rows that COPY could not take
insert into pg_temp.load_problem (source_table, row, column_name, problem) values (%s, %s, 'row', %s);

-- name: check
-- rows that cannot be loaded
insert into pg_temp.load_problem (source_table, row, column_name, problem)
with faulty (source_table, row, faults) as (
    select 'person', row, faults from pg_temp.omop_person
    union all select 'concept', row, faults from pg_temp.omop_code
    union all select 'death', row, faults from pg_temp.omop_death
    union all select source_table, row, faults from pg_temp.omop_event
), keyed (source_table, column_name, key, row) as (
    select 'person', 'person_id', person_id, row from pg_temp.omop_person
    union all select 'concept', 'concept_id', concept_id, row from pg_temp.omop_code
    union all select source_table, source_table || '_id', key, row from pg_temp.omop_event
), referring (source_table, row, person_id) as (
    select source_table, row, person_id from pg_temp.omop_event
    union all select 'death', row, person_id from pg_temp.omop_death
)
select f.source_table, f.row, name,
       'is ' || case when name like '%\_id' then 'not a whole number' when name like '%number' then 'not a number'
                    else 'missing or impossible' end
  from faulty f cross join unnest(f.faults) name where cardinality(f.faults) > 0
union all
select source_table, max(row), column_name, 'stands twice (' || key || ')'
  from keyed where key is not null group by source_table, column_name, key having count(*) > 1
union all
select r.source_table, r.row, 'person_id', 'is not in person (' || r.person_id || ')'
  from referring r left join pg_temp.omop_person p using (person_id)
 where r.person_id is not null and p.person_id is null;

-- name: reject
-- leave the rows with problems out
delete from pg_temp.omop_person p using pg_temp.load_problem b where b.source_table = 'person' and b.row = p.row;
delete from pg_temp.omop_code c using pg_temp.load_problem b where b.source_table = 'concept' and b.row = c.row;
delete from pg_temp.omop_death d using pg_temp.load_problem b where b.source_table = 'death' and b.row = d.row;
delete from pg_temp.omop_event e using pg_temp.load_problem b where b.source_table = e.source_table and b.row = e.row;
insert into pg_temp.load_problem (source_table, row, column_name, problem)
select r.source_table, r.row, 'person_id', 'is of a rejected person'
  from (select source_table, row, person_id from pg_temp.omop_event
        union all select 'death', row, person_id from pg_temp.omop_death) r
 where not exists (select from pg_temp.omop_person p where p.person_id = r.person_id);
delete from pg_temp.omop_event e where not exists (select from pg_temp.omop_person p where p.person_id = e.person_id);
delete from pg_temp.omop_death d where not exists (select from pg_temp.omop_person p where p.person_id = d.person_id);

-- name: stage_events
-- clinical rows as events; ties within a second go by table, then key.
-- A value is the first of: number (with an operator: text), string, concept, source value, qualifier; others that say
-- something else are kept in `extra`.
insert into pg_temp.event_staging (patient_id, row, time, end_time, code, numeric_value, text_value, unit, visit_id,
                                   visit_class, source_table, extra)
select e.person_id, row_number() over (order by e.table_number, e.key),
       -- A day's end does not lie behind the end that the source knows, and a visit lasts a minute where its day has one.
       case when moment.is_day and e.end_time >= e.time
            then greatest(e.time, least(e.time + interval '23:59', moment.end_time
                     - case when starts_with(e.source_table, 'visit_') then interval '1 minute' else interval '0' end))
            when moment.is_day then e.time + interval '23:59'
            else e.time end,
       moment.end_time,
       coalesce(
           case %(first)s when 'standard' then standard.code when 'source' then source.code else local.code end,
           case %(second)s when 'standard' then standard.code when 'source' then source.code else local.code end,
           case %(third)s when 'standard' then standard.code when 'source' then source.code else local.code end,
           local.code, 'OMOP/' || e.source_table || ':' || coalesce(e.concept_id::text, 'unknown')),
       case when operator.sign is null then e.numeric_value end, written.text,
       coalesce(e.unit, case when unit.vocabulary = 'UCUM' then substr(unit.code, 6) else unit.name end), e.visit_id,
       case when e.source_table = 'visit_occurrence' then
                case when e.concept_id = any (%(inpatient)s::bigint[]) then 'inpatient'
                     when e.concept_id = 9203 then 'emergency'
                     when e.concept_id = 9202 then 'outpatient' else 'other' end
            when e.source_table = 'visit_detail' and (
                     e.concept_id = any (%(icu)s::bigint[])
                  or exists (select from ehrdb.icu_care_site s where s.code = 'CARE_SITE/' || e.care_site_id))
                then 'icu' end,
       e.source_table,
       case when operator.sign is not null
              or num_nonnulls(e.numeric_value, e.value_as_string, value.name, e.value_source_value, qualifier.text) > 1
            then nullif(jsonb_strip_nulls(jsonb_build_object(
                'value_as_string', case when e.numeric_value is not null
                    and not coalesce(ehrdb.to_value(e.value_as_string) = e.numeric_value, false)
                    then e.value_as_string end,
                'value_as_concept', case when coalesce(written.text, e.numeric_value::text) is distinct from value.name
                    then value.name end,
                'operator', case when operator.sign is not null and not coalesce(starts_with(written.text, operator.sign), false)
                    then btrim(operator.sign) end,
                'value_source_value', case when coalesce(
                        lower(btrim(e.value_source_value)) <> lower(coalesce(written.text, ''))
                    and coalesce(operator.sign, '') || btrim(e.value_source_value) <> coalesce(written.text, '')
                    and not (coalesce(operator.sign, '=') = coalesce(e.source_sign, '')
                             and e.value_source_value ~ '^[<>=≤≥ ]+[-+\d.,eE]+\s*$')
                    and replace(e.value_source_value, ' ', '') <> coalesce(written.text, '')
                    and not coalesce(ehrdb.to_value(e.value_source_value) = e.numeric_value, false), false)
                    then e.value_source_value end,
                'qualifier', case when written.text is distinct from qualifier.text then qualifier.text end)), '{}') end
  from pg_temp.omop_event e
  left join pg_temp.omop_code standard on standard.concept_id = e.concept_id
  left join pg_temp.omop_code source on source.concept_id = e.source_concept_id
  left join pg_temp.omop_code value on value.concept_id = e.value_as_concept_id
  left join pg_temp.omop_code unit on unit.concept_id = e.unit_concept_id
  left join pg_temp.omop_code operation on operation.concept_id = e.operator_concept_id
  left join pg_temp.omop_code qualification on qualification.concept_id = e.qualifier_concept_id
 cross join lateral (select 'OMOP/' || e.source_table || ':' || e.source_value as code) local
 cross join lateral (select coalesce(qualification.name, e.qualifier_source_value) as text) qualifier
 cross join lateral (
       -- An end without a time, on the day of the start, is not before the start.
       select %(end_of_day)s and e.time = date_trunc('day', e.time) as is_day,
              case when e.end_time <> date_trunc('day', e.end_time) then e.end_time
                   else greatest(e.end_time + case when %(end_of_day)s then interval '23:59' else interval '0' end,
                                 case when date_trunc('day', e.time) = e.end_time then e.time end) end as end_time) moment
 cross join lateral (
       select case when e.operator_concept_id = 4171756 then '<' when e.operator_concept_id = 4172704 then '>'
                   when e.operator_concept_id = 4171754 then '<=' when e.operator_concept_id = 4171755 then '>='
                   when e.operator_concept_id = 4172703 then null
                   when operation.name is not null then operation.name || ' '
                   else nullif(e.source_sign, '=') end as sign) operator
 cross join lateral (select coalesce(e.value_as_string, value.name, e.value_source_value, qualifier.text) as text) worded
 cross join lateral (
       -- An operator without a number belongs to the number that a text begins with.
       select case when e.numeric_value is not null then operator.sign || e.number
                   when operator.sign is not null and worded.text ~ '^\s*[-+]?\.?\d' then operator.sign || btrim(worded.text)
                   else worded.text end as text) written;

-- name: stage_persons
-- birth first, demographics at the end of that day
insert into pg_temp.event_staging (patient_id, row, time, code, source_table)
select p.person_id, fact.row - 10,
       case when fact.row > 0 and %(end_of_day)s and p.birth_time = date_trunc('day', p.birth_time)
            then p.birth_time + interval '23:59' else p.birth_time end,
       fact.code, 'person'
  from pg_temp.omop_person p
  left join pg_temp.omop_code sex on sex.concept_id = p.gender_concept_id
  left join pg_temp.omop_code race on race.concept_id = p.race_concept_id
  left join pg_temp.omop_code ethnicity on ethnicity.concept_id = p.ethnicity_concept_id
 cross join lateral (values (0, 'SNOMED/3950001'), (1, race.code), (2, sex.code), (3, ethnicity.code)) as fact (row, code)
 where fact.code is not null;

-- name: later_deaths
-- a patient dies once, at the last of the recorded deaths; nothing but this one is compatible with all
insert into pg_temp.load_problem (source_table, row, column_name, problem)
select 'death', row, 'person_id', 'has another death'
  from (select row, row_number() over (partition by person_id order by time desc, row) as place from pg_temp.omop_death) d
 where place > 1;
delete from pg_temp.omop_death d using pg_temp.load_problem b where b.source_table = 'death' and b.row = d.row;

-- name: stage_deaths
-- death as an event
insert into pg_temp.event_staging (patient_id, row, time, code, source_table)
select d.person_id, 9223372036854775807,
       case when %(end_of_day)s and d.time = date_trunc('day', d.time) then d.time + interval '23:59' else d.time end,
       'SNOMED/419620001', 'death'
  from pg_temp.omop_death d;

-- name: stage_patients
-- one row per person
insert into pg_temp.patient_staging (patient_id, birth_time, death_time, sex, race, ethnicity)
select e.patient_id, min(e.time) filter (where e.code = 'SNOMED/3950001' and e.source_table = 'person'),
       min(e.time) filter (where e.source_table = 'death'),
       min(substr(e.code, 8)) filter (where starts_with(e.code, 'Gender/') and e.source_table = 'person'),
       min(c.name) filter (where starts_with(e.code, 'Race/') and e.source_table = 'person'),
       min(c.name) filter (where starts_with(e.code, 'Ethnicity/') and e.source_table = 'person')
  from pg_temp.event_staging e
  left join pg_temp.omop_code c on c.code = e.code and e.source_table = 'person'
 group by e.patient_id;

-- name: stage_concepts
-- descriptions of the codes that occur, and of those above them; birth and death have the names that EHRSHOT gives them
insert into pg_temp.concept_staging (code, concept_id, description, standard_concept)
select distinct on (used.code) used.code, c.concept_id,
       case used.code when 'SNOMED/3950001' then 'Birth' when 'SNOMED/419620001' then 'Death'
            else coalesce(c.name, substr(used.code, strpos(used.code, ':') + 1)) end,
       c.standard_concept
  from (select code from pg_temp.event_staging
        union select child_code from pg_temp.concept_parent_staging
        union select parent_code from pg_temp.concept_parent_staging) used
  left join pg_temp.omop_code c on c.code = used.code
 order by used.code, c.standard_concept nulls last, c.concept_id;

-- name: stage_parents_from_concept_relationship
-- FEMR's rule: of each concept only the best parents, standard ones
-- first, then by kind of relationship (spec of tasks, section on ontology expansion)
with recursive edge as (
    select child.code as child_code, parent.code as parent_code, child.concept_id as child_id, parent.concept_id as parent_id,
           rank() over (partition by child.concept_id
                        order by nullif(parent.standard_concept, '') is null, kind.position) as place
      from pg_temp.raw_concept_relationship r
      join unnest(array['Has precise ingredient', 'RxNorm has ing', 'Quantified form of', 'Has ingredient', 'Form of',
                        'Consists of', 'Is a']) with ordinality as kind (name, position) on kind.name = r.relationship_id
      join pg_temp.omop_code child on child.concept_id = ehrdb.to_bigint(r.concept_id_1)
      join pg_temp.omop_code parent on parent.concept_id = ehrdb.to_bigint(r.concept_id_2)
     where coalesce(to_jsonb(r) ->> 'invalid_reason', '') in ('', 'NULL', 'null', 'NA', '\N') and child.concept_id <> parent.concept_id
), best as materialized (
    select distinct child_code, parent_code from edge where place = 1
), reached (code) as (
    select distinct code from pg_temp.event_staging
    union
    select b.parent_code from reached r join best b on b.child_code = r.code
)
insert into pg_temp.concept_parent_staging (child_code, parent_code)
select b.child_code, b.parent_code from best b where b.child_code in (select code from reached);

-- name: stage_parents_from_concept_ancestor
-- direct parents, where only the closure is there
insert into pg_temp.concept_parent_staging (child_code, parent_code)
select distinct child.code, parent.code
  from pg_temp.raw_concept_ancestor a
  join pg_temp.omop_code child on child.concept_id = ehrdb.to_bigint(a.descendant_concept_id)
  join pg_temp.omop_code parent on parent.concept_id = ehrdb.to_bigint(a.ancestor_concept_id)
 where coalesce(to_jsonb(a) ->> 'min_levels_of_separation', '1') = '1' and child.concept_id <> parent.concept_id;

-- name: remarks
-- what is worth a look though it is loaded
insert into pg_temp.load_remark (source_table, remark, rows)
select source_table, remark, count(*)
  from pg_temp.event_staging s
 cross join lateral (values ('ends before it starts', s.end_time < s.time),
                            ('has further values, kept aside', s.extra is not null),
                            ('shares its code with another concept', strpos(s.code, '#') > 0 and exists (
                                select from pg_temp.omop_code c where c.code = s.code and s.code ~ ('#' || c.concept_id || '$')))
                    ) as rule (remark, applies)
 where rule.applies group by source_table, remark
union all
select e.source_table, rule.remark, sum(rule.times)
  from pg_temp.omop_event e
 cross join lateral (values ('words that stand for nothing (NULL, NA)', e.words),
                            ('value concept is not in concept', (e.value_as_concept_id <> 0 and not exists (
                                select from pg_temp.omop_code c where c.concept_id = e.value_as_concept_id))::integer),
                            ('operator concept is not in concept', (e.operator_concept_id not in (0, 4171754, 4171755, 4171756, 4172703, 4172704)
                                and not exists (select from pg_temp.omop_code c where c.concept_id = e.operator_concept_id))::integer),
                            ('qualifier concept is not in concept', (e.qualifier_concept_id <> 0 and not exists (
                                select from pg_temp.omop_code c where c.concept_id = e.qualifier_concept_id))::integer),
                            ('unit concept is not in concept', (e.unit_concept_id <> 0 and not exists (
                                select from pg_temp.omop_code c where c.concept_id = e.unit_concept_id))::integer)
                    ) as rule (remark, times)
 where rule.times > 0 group by e.source_table, rule.remark;

-- name: remarks_of_visits
-- events that name a visit which is not there, or not this patient's
insert into pg_temp.load_remark (source_table, remark, rows)
select e.source_table, case when v.key is null then 'names a visit that is not there' else 'names a visit of another patient' end,
       count(*)
  from pg_temp.omop_event e
  left join (select key, key::text as visit_id, person_id from pg_temp.omop_event where source_table = 'visit_occurrence') v
    using (visit_id)
 where e.visit_id is not null and v.person_id is distinct from e.person_id
 group by 1, 2;

-- name: remark_zones
-- times whose zone was not applied
insert into pg_temp.load_remark (source_table, remark, rows)
select {table}, 'times with a zone, taken as local (see --time-zone)', sum(rows)
  from (select ({zoned})::bigint as rows from {raw}) r having sum(rows) > 0;

-- name: remark_cut
-- notes of which only the beginning is kept
insert into pg_temp.load_remark (source_table, remark, rows)
select 'note', 'cut after ' || %(length)s || ' characters', count(*)
  from pg_temp.raw_note where char_length(note_text) > %(length)s having count(*) > 0;

-- name: reports
-- what became of each table's rows; a person is one row, whatever facts it becomes
select coalesce(s.source_table, b.source_table), (coalesce(s.loaded, 0) + coalesce(b.rejected, 0))::bigint, coalesce(s.loaded, 0),
       coalesce(s.unmapped, 0), coalesce(b.rejected, 0)::bigint, coalesce(b.reasons, '{}')
  from (select source_table, count(*) filter (where source_table <> 'person' or code = 'SNOMED/3950001') as loaded,
               count(*) filter (where starts_with(code, 'OMOP/')) as unmapped
          from pg_temp.event_staging group by source_table) s
  full join (select source_table, sum(rows) as rejected, jsonb_object_agg(problem, rows) as reasons
               from (select source_table, column_name || ' ' || split_part(problem, ' (', 1) as problem, count(*) as rows
                       from pg_temp.load_problem group by 1, 2) p
              group by source_table) b using (source_table)
 order by 1;
