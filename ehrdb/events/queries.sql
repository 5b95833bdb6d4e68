-- name: know_source
-- a row for whose turn it is to load this source
insert into ehrdb.turn (what) values ('load ' || %(source)s) on conflict do nothing;

-- name: wait_briefly
-- another's row of the same source is committed at once, but that of a rehearsal is not
set local lock_timeout = '2s';

-- name: wait_as_ever
set local lock_timeout to default;

-- name: try_lock_source
-- whether this transaction is now the only one that loads this source: a row's lock, which readers cannot take
select true from ehrdb.turn where what = 'load ' || %(source)s for update skip locked;

-- name: who_loads
-- the user, the process and the beginning of the oldest transaction that has a turn
select h.usename, h.pid, to_char(h.xact_start, 'YYYY-MM-DD HH24:MI:SS "UTC"')
  from ehrdb.lock_holders('ehrdb.turn') h
 where h.mode = 'RowShareLock'
 order by h.xact_start
 limit 1;

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
-- what became of each table's rows when all were read for the last time
select source_table, rows_read, rows_loaded, rows_unmapped, rows_rejected, reasons, kind
  from ehrdb.load_report
 where load_id = (select load_id from ehrdb.load_report where source = %(source)s
                   group by load_id having bool_and(kind <> 'unread patients') order by load_id desc limit 1)
 order by ctid;

-- name: remember
-- what this load left, for same_again and gone_tables
insert into ehrdb.source as s (source, digest, patients, tables, rules)
select %(source)s, %(digest)s, count(*),
       (select coalesce(jsonb_object_agg(t.table_name, t.columns), '{}') from pg_temp.found_table t),
       (select l.rules from pg_temp.this_load l)
  from ehrdb.patient where source = %(source)s
on conflict (source) do update
   set digest = excluded.digest, patients = excluded.patients, tables = excluded.tables, rules = excluded.rules;

-- name: gone_tables
-- tables and columns that the last load of the source had and this one has not
select missing.name
  from ehrdb.source s
 cross join jsonb_each(s.tables) as had (table_name, columns)
  left join pg_temp.found_table f on f.table_name = had.table_name
 cross join lateral (
       select had.table_name as name where f.table_name is null
       union all
       select had.table_name || '.' || c.name from jsonb_array_elements_text(had.columns) as c (name)
        where f.table_name is not null and c.name <> all (f.columns)) missing
 where s.source = %(source)s and had.table_name <> all (%(allowed)s::text[]) and missing.name <> all (%(allowed)s::text[])
 order by 1;

-- name: this_load
-- whose load this is, and of which patients
insert into pg_temp.this_load (source, is_whole, low, high, began)
values (%(source)s, %(is_whole)s, coalesce(%(low)s, -9223372036854775808), coalesce(%(high)s, 9223372036854775807),
        coalesce(%(began)s, now()));

-- name: found_table
-- a table that this load reads, and its columns
insert into pg_temp.found_table (table_name, columns) values (%(table)s, %(columns)s) on conflict do nothing;

-- name: leave_purged_out
-- patients who were purged do not come back
delete from pg_temp.patient_staging s using ehrdb.purged_patient p where p.patient_hash = ehrdb.patient_hash(s.patient_id);

-- name: leave_their_events_out
-- nor do their events
delete from pg_temp.event_numbered n
 where not exists (select from pg_temp.patient_staging s where s.patient_id = n.patient_id);

-- name: let_return
-- patients who were purged and are wanted again; but who was purged since this load began stays purged
delete from ehrdb.purged_patient p using pg_temp.patient_staging s, pg_temp.this_load l
 where p.patient_hash = ehrdb.patient_hash(s.patient_id) and p.purged_at < l.began;

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
create temp table this_load (
    source text, is_whole boolean, rules bytea, is_partial boolean default false, low bigint, high bigint,
    began timestamptz
) on commit drop;
create temp table patient_digest (patient_id bigint, digest bytea) on commit drop;
create temp table read_patient (patient_id bigint primary key) on commit drop;
create temp table found_table (table_name text primary key, columns text[]) on commit drop;
create temp table load_remark (source_table text, remark text, rows bigint) on commit drop;
create temp table load_problem (file text, source_table text, row bigint, column_name text, problem text) on commit drop;

-- name: remarks
-- what to look at, of rows that were loaded
select source_table, remark, sum(rows)::bigint from pg_temp.load_remark group by 1, 2 order by 1, 2;

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

-- name: code_figures
-- one look at all events, for everything that is counted by code, unit and kind of visit
create temp table code_figure on commit drop as
select n.code, n.unit, n.visit_class, count(*) as events, count(n.numeric_value) as numbers,
       count(n.text_value) as texts, count(n.visit_id) as in_a_visit,
       count(*) filter (where n.text_value ~ '^\s*[<>]?=?\s*[-+]?[0-9]') as texts_with_numbers,
       count(*) filter (where n.visit_class is not null and n.end_time is null) as without_end,
       count(*) filter (where n.visit_class is not null and n.end_time < n.time) as inverted,
       count(*) filter (where n.time < '1900-01-01' and isfinite(n.time)) as before_1900,
       count(*) filter (where n.time < s.birth_time and isfinite(n.time)) as before_birth,
       count(*) filter (where n.time > s.death_time) as after_death,
       count(*) filter (where n.time > now()::timestamp and isfinite(n.time)) as in_the_future,
       min(n.time) filter (where isfinite(n.time)) as first, max(n.time) filter (where isfinite(n.time)) as last
  from pg_temp.event_numbered n
  left join pg_temp.patient_staging s using (patient_id)
 group by n.code, n.unit, n.visit_class;

-- name: oddities
-- events that may be as they are but deserve a look
select coalesce(sum(f.events), 0)::bigint, sum(f.before_birth)::bigint, sum(f.after_death)::bigint, sum(f.in_the_future)::bigint,
       coalesce(sum(f.numbers) filter (where u.dimension = ''), 0)::bigint as of_unknown_unit
  from pg_temp.code_figure f
  left join ehrdb.unit u using (unit);

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
  full join (select p.*
               from ehrdb.patient p, pg_temp.this_load l
              where p.source = l.source and p.patient_id between l.low and l.high
                and (not l.is_partial or p.patient_id in (select r.patient_id from pg_temp.read_patient r))) p
       using (patient_id);

-- name: any_incoming
-- whether the source has anybody
select from pg_temp.patient_staging union all select from pg_temp.this_load where is_partial limit 1;

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
  from ehrdb.patient p join pg_temp.patient_staging s using (patient_id)
 where p.source <> %(source)s
 order by p.patient_id limit 1;

-- name: count_changes
-- how many of each
select change, count(*) from pg_temp.patient_change group by change;

-- name: purge_removed
-- patients that are gone, and the events of those that changed
select ehrdb.purge_patients(array(select patient_id from pg_temp.patient_change where change = 'removed'));
delete from ehrdb.event e using pg_temp.patient_change c where c.patient_id = e.patient_id and c.change = 'changed';

-- name: unknown_code
-- a code or a unit that nobody knows yet
select from pg_temp.code_figure f
 where not exists (select from ehrdb.concept c where c.code = f.code)
    or f.unit is not null and not exists (select from ehrdb.unit u where u.unit = f.unit) limit 1;

-- name: code_figures_of_a_portion
-- for who puts them together
copy pg_temp.code_figure to stdout;

-- name: code_figures_of_all
-- of portions, together
create temp table code_figure (
    code text, unit text, visit_class text, events bigint, numbers bigint, texts bigint, in_a_visit bigint,
    texts_with_numbers bigint, without_end bigint, inverted bigint, before_1900 bigint, before_birth bigint,
    after_death bigint, in_the_future bigint, first timestamp, last timestamp
) on commit drop;

-- name: copy_code_figures
copy pg_temp.code_figure from stdin;

-- name: stand_for_events
-- an event of each code: all that what is said of codes asks
insert into pg_temp.event_staging (row, code) select 0, code from (select distinct code from pg_temp.code_figure) f;

-- name: forget_digests
-- where rules are others than those by which patients were read, no patient is as before
delete from ehrdb.source_patient k using pg_temp.this_load l
 where k.source = l.source
   and not exists (select from ehrdb.source s where s.source = l.source and s.rules = l.rules);

-- name: as_looked
-- what was found when portions were read
update pg_temp.this_load set rules = %(rules)s, is_partial = %(is_partial)s;

-- name: tables_found
select table_name, columns from pg_temp.found_table;

-- name: moment
-- when this transaction began
select now();

-- name: stay_idle
-- for as long as portions are loaded elsewhere
set local idle_in_transaction_session_timeout = 0;

-- name: add_concepts
-- codes and units that are new
insert into ehrdb.unit (unit)
select distinct n.unit from pg_temp.code_figure n
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
create temp table code_used on commit drop as
select code, sum(events)::bigint as events from pg_temp.code_figure group by code;
analyze pg_temp.code_used;
insert into ehrdb.concept (code, vocabulary)
select distinct named.code, split_part(named.code, '/', 1)
  from (select code from pg_temp.code_used union all select child_code from pg_temp.concept_parent_staging
        union all select parent_code from pg_temp.concept_parent_staging) named
 where named.code is not null and not exists (select from ehrdb.concept c where c.code = named.code)
on conflict do nothing;

-- name: change_concepts
-- descriptions, texts and relations as this load has them: what differs is changed, what left the files leaves
create temp table concept_changed (code_id integer) on commit drop;
with updated as (
    update ehrdb.concept c
       set concept_id = i.concept_id, description = i.description, standard_concept = i.standard_concept,
           extra = i.extra
      from pg_temp.concept_incoming i
     where c.code = i.code
       and (c.concept_id, c.description, c.standard_concept, c.extra)
           is distinct from (i.concept_id, i.description, i.standard_concept, i.extra)
    returning c.code_id
), undescribed as (
    -- A code that occurs and is described no more; another source may describe it.
    update ehrdb.concept c set description = null
      from pg_temp.code_used u
     where c.code = u.code and c.description is not null
       and not exists (select from pg_temp.concept_incoming i where i.code = u.code)
       and not exists (select from ehrdb.source s where s.source <> (select l.source from pg_temp.this_load l))
    returning c.code_id
), renamed as (
    insert into ehrdb.custom_text as t (vocabulary, code, description, source)
    select distinct on (vocabulary, lower(trim(code))) vocabulary, lower(trim(code)), description, (select l.source from pg_temp.this_load l)
      from pg_temp.custom_text_staging
        on conflict (vocabulary, code) do update set description = excluded.description, source = excluded.source
     where (t.description, t.source) is distinct from (excluded.description, excluded.source)
    returning t.vocabulary
), unnamed as (
    delete from ehrdb.custom_text t
     where t.source = (select l.source from pg_temp.this_load l)
       and not exists (select from pg_temp.custom_text_staging s
                        where s.vocabulary = t.vocabulary and lower(trim(s.code)) = t.code)
    returning t.vocabulary
)
insert into pg_temp.concept_changed (code_id)
select code_id from updated union select code_id from undescribed
union select c.code_id from ehrdb.concept c
       where c.vocabulary in (select vocabulary from renamed union all select vocabulary from unnamed);

-- name: change_relations
-- parents of codes, likewise; a load that read some patients only knows of no relation that has gone
create temp table relation on commit drop as
select distinct child.code_id as child_id, parent.code_id as parent_id
  from pg_temp.concept_parent_staging s
  join ehrdb.concept child on child.code = s.child_code
  join ehrdb.concept parent on parent.code = s.parent_code;
create index on pg_temp.relation (child_id, parent_id);
analyze pg_temp.relation;
with new as (
    insert into ehrdb.concept_parent (child_id, parent_id, sources)
    select r.child_id, r.parent_id, array[(select l.source from pg_temp.this_load l)] from pg_temp.relation r
     where not exists (select from ehrdb.concept_parent p where p.child_id = r.child_id and p.parent_id = r.parent_id)
    returning child_id
)
insert into pg_temp.concept_changed (code_id) select child_id from new;
update ehrdb.concept_parent p set sources = p.sources || (select l.source from pg_temp.this_load l)
  from pg_temp.relation r
 where p.child_id = r.child_id and p.parent_id = r.parent_id and (select l.source from pg_temp.this_load l) <> all (p.sources);
create temp table relation_gone on commit drop as
select p.child_id, p.parent_id, p.sources
  from ehrdb.concept_parent p
 where (select l.source from pg_temp.this_load l) = any (p.sources)
   and not exists (select from pg_temp.relation r where r.child_id = p.child_id and r.parent_id = p.parent_id)
   and not (select l.is_partial from pg_temp.this_load l);
delete from ehrdb.concept_parent p using pg_temp.relation_gone g
 where p.child_id = g.child_id and p.parent_id = g.parent_id and cardinality(g.sources) = 1;
update ehrdb.concept_parent p set sources = array_remove(p.sources, (select l.source from pg_temp.this_load l)) from pg_temp.relation_gone g
 where p.child_id = g.child_id and p.parent_id = g.parent_id;
insert into pg_temp.concept_changed (code_id)
select child_id from pg_temp.relation_gone where cardinality(sources) = 1;

-- name: mark_described
-- patients whose text or labels may change with a description or a relation: their codes, and all below them
select (select count(distinct code_id) from pg_temp.concept_changed),
       ehrdb.mark_coded(array(select code_id from pg_temp.concept_changed));

-- name: drop_indexes
-- of a database without patients; building them at the end is faster than keeping them up to date, and nobody waits
create temp table event_index on commit drop as
select i.indexrelid::regclass::text as name, c.conname as constraint_name,
       coalesce('alter table ehrdb.event add constraint ' || quote_ident(c.conname) || ' ' || pg_get_constraintdef(c.oid),
                pg_get_indexdef(i.indexrelid)) as definition
  from pg_index i
  join pg_class t on t.oid = i.indrelid and t.relkind = 'r'
  left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid
 where i.indrelid = 'ehrdb.event'::regclass and not exists (select from ehrdb.event)
   and not exists (select from ehrdb.patient);
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

-- name: change_reports
-- radiology findings as this load has them; patients with other ones than before are marked
create temp table report_changed on commit drop as
with old as (
    select r.patient_id, r.time, r.findings
      from ehrdb.radiology_report r join ehrdb.patient p using (patient_id) where p.source = (select l.source from pg_temp.this_load l)
), new as (
    select s.patient_id, s.time, s.findings from pg_temp.report_staging s join ehrdb.patient p using (patient_id)
)
select patient_id from (table old except all table new) gone
union
select patient_id from (table new except all table old) came;
delete from ehrdb.radiology_report r using pg_temp.report_changed c where c.patient_id = r.patient_id;
insert into ehrdb.radiology_report (patient_id, time, findings)
select s.patient_id, s.time, s.findings from pg_temp.report_staging s join pg_temp.report_changed using (patient_id);
insert into ehrdb.changed_patient (patient_id) select patient_id from pg_temp.report_changed;

-- name: count_reports
-- how many patients have other findings
select count(*) from pg_temp.report_changed;

-- name: placed
-- of how many events a format's rules know the category; others pass for conditions, which SNOMED's and ICD's may be
with matched as materialized (
    select distinct rules, code_id from ehrdb.matched_categories()
)
select s.rules, sum(u.events)::bigint,
       coalesce(sum(u.events) filter (where m.code_id is not null or c.vocabulary = 'SNOMED'
                                         or starts_with(c.vocabulary, 'ICD')), 0)::bigint
  from (select distinct rules from ehrdb.category_rule) s
 cross join pg_temp.code_used u
  join ehrdb.concept c on c.code = u.code
  left join matched m on m.rules = s.rules and m.code_id = c.code_id
 group by s.rules order by s.rules;

-- name: figures
-- what the events are, beyond their tables: section, what is counted, how many; the first of a section is the whole
with by_unit as (
    select f.code, f.unit, u.dimension, sum(f.numbers) as numbers
      from pg_temp.code_figure f left join ehrdb.unit u using (unit)
     where f.numbers > 0 group by f.code, f.unit, u.dimension
), by_code as (
    select code, count(unit) as units, count(distinct nullif(dimension, '')) as dimensions,
           bool_or(unit is null) and count(unit) > 0 as is_partly_bare
      from by_unit group by code
), whole as (
    select sum(events) as events, sum(in_a_visit) filter (where visit_class is null) as in_a_visit,
           sum(numbers) as numbers, sum(texts) as texts, sum(texts_with_numbers) as texts_with_numbers,
           sum(events) filter (where visit_class is not null) as visits, sum(without_end) as without_end,
           sum(inverted) as inverted, sum(before_1900) as before_1900, min(first) as first, max(last) as last
      from pg_temp.code_figure
)
select section, figure, coalesce(count, 0)::bigint
  from (
    select 1, 'times', 'events', events from whole
    union all select 2, 'times', 'first year', extract(year from first) from whole
    union all select 3, 'times', 'last year', extract(year from last) from whole
    union all select 4, 'times', 'before 1900', before_1900 from whole
    union all select 10, 'visits', 'visits', visits from whole
    union all (select 11, 'visits', visit_class, sum(events) from pg_temp.code_figure
                where visit_class is not null group by visit_class order by visit_class)
    union all select 12, 'visits', 'end unknown', without_end from whole
    union all select 13, 'visits', 'end before the start', inverted from whole
    union all select 14, 'visits', 'other events that name a visit', in_a_visit from whole
    union all select 20, 'values', 'numbers and texts', numbers + texts from whole
    union all select 21, 'values', 'numbers', numbers from whole
    union all select 22, 'values', 'texts', texts from whole
    union all select 23, 'values', 'texts that begin with a number', texts_with_numbers from whole
    union all select 30, 'units', 'numbers', sum(numbers) from by_unit
    union all select 31, 'units', 'numbers without a unit', sum(numbers) from by_unit where unit is null
    union all select 32, 'units', 'numbers in a unit unknown to UCUM', sum(numbers) from by_unit where dimension = ''
    union all select 33, 'units', 'codes in several units', count(*) from by_code where units > 1
    union all select 34, 'units', 'codes in units that do not convert', count(*) from by_code where dimensions > 1
    union all select 35, 'units', 'codes with and without a unit', count(*) from by_code where is_partly_bare
    union all select 40, 'codes used', 'codes', count(*) from pg_temp.code_used
    union all select 41, 'codes used', 'without a description', count(*) from pg_temp.code_used u
               where not exists (select from ehrdb.concept c where c.code = u.code and c.description is not null)
    union all select 42, 'codes used', 'events without a description', sum(u.events) from pg_temp.code_used u
               where not exists (select from ehrdb.concept c where c.code = u.code and c.description is not null)
    union all select 44, 'codes used', 'mapped to standard ones', count(*) from pg_temp.code_used u
               join ehrdb.concept c using (code)
               where exists (select from ehrdb.stands_for s where s.code_id = c.code_id)
    union all select 43, 'codes used', 'told apart by their concept id', count(*)
                from pg_temp.code_used u join ehrdb.concept c using (code)
               where strpos(u.code, '#') > 0 and u.code ~ ('#' || c.concept_id || '$')
       ) as f (place, section, figure, count)
 order by place, figure;

-- name: next_load
-- number of this load
select coalesce(max(load_id), 0) + 1 from ehrdb.load_report;

-- name: report
-- one row per table of this load
insert into ehrdb.load_report (load_id, source, source_table, rows_read, rows_loaded, rows_unmapped, rows_rejected, reasons, kind)
values (%(load_id)s, %(source)s, %(source_table)s, %(rows_read)s, %(rows_loaded)s, %(rows_unmapped)s,
        %(rows_rejected)s, %(reasons)s, %(kind)s);
