-- name: copy_schema
-- a schema's map, and the concepts that it maps to
create temp table raw_map on commit drop as select * from pg_temp.raw_source_to_concept_map;
create temp table named_concept on commit drop as
select c.* from pg_temp.raw_concept c
 where exists (select from pg_temp.raw_map m where ehrdb.to_bigint(m.target_concept_id) = ehrdb.to_bigint(c.concept_id));

-- name: name_copy
-- as if the concepts came from a file
alter table pg_temp.named_concept rename to raw_concept;

-- name: map_tables
-- a map as it comes, and the concepts that it names by their ids
create temp table map_staging (
    row bigint, code text, standard_code text, description text, standard_description text, left_out text
) on commit drop;
create temp table map_concept (concept_id bigint primary key, code text, description text) on commit drop;

-- name: known_concepts
-- concepts that loads brought along
insert into pg_temp.map_concept (concept_id, code, description)
select distinct on (c.concept_id) c.concept_id, c.code, c.description
  from ehrdb.concept c where c.concept_id is not null order by c.concept_id, c.code
on conflict do nothing;

-- name: read_concepts
-- those of a concept table
insert into pg_temp.map_concept (concept_id, code, description)
select distinct on (id) id, r.vocabulary_id || '/' || r.concept_code, nullif(r.concept_name, '')
  from pg_temp.raw_concept r, ehrdb.to_bigint(r.concept_id) id
 where id <> 0
 order by id, r.row
on conflict do nothing;

-- name: stage_plain
-- code, standard_code, and their names where the file has them; no standard code: none on purpose
insert into pg_temp.map_staging (row, code, standard_code, description, standard_description)
select row, coalesce(nullif(%(vocabulary)s, '') || '/', '') || nullif(code, ''), nullif(standard_code, ''),
       nullif(to_jsonb(r) ->> 'description', ''), nullif(to_jsonb(r) ->> 'standard_description', '')
  from pg_temp.raw_map r;

-- name: stage_source_to_concept_map
-- as OMOP has it; what is no longer valid is left out
insert into pg_temp.map_staging (row, code, standard_code, description, standard_description, left_out)
select r.row, coalesce(nullif(%(vocabulary)s, ''), nullif(r.source_vocabulary_id, '')) || '/' || nullif(r.source_code, ''), c.code,
       nullif(to_jsonb(r) ->> 'source_code_description', ''), c.description,
       case when coalesce(to_jsonb(r) ->> 'invalid_reason', '') not in ('', 'NULL', 'null', 'NA', '\N') then 'is no longer valid'
            when id is null then 'has no number as target_concept_id'
            when id <> 0 and c.code is null then 'has a target concept that is not known here' end
  from pg_temp.raw_map r
 cross join lateral (select ehrdb.to_bigint(r.target_concept_id)) target (id)
  left join pg_temp.map_concept c on c.concept_id = id;

-- name: stage_usagi
-- approved rows of Usagi that map to what an event is, not to its value or unit
insert into pg_temp.map_staging (row, code, standard_code, description, standard_description, left_out)
select r.row, nullif(%(vocabulary)s, '') || '/' || nullif(r.sourcecode, ''), c.code,
       nullif(to_jsonb(r) ->> 'sourcename', ''), coalesce(c.description, nullif(to_jsonb(r) ->> 'conceptname', '')),
       case when upper(coalesce(to_jsonb(r) ->> 'mappingstatus', 'APPROVED')) <> 'APPROVED' then 'is not approved'
            when upper(coalesce(nullif(to_jsonb(r) ->> 'mappingtype', ''), 'MAPS_TO')) not in ('MAPS_TO', 'EVENT')
                then 'maps to a value or a unit'
            when id is null then 'has no number as conceptid'
            when id <> 0 and c.code is null then 'has a target concept that is not known here' end
  from pg_temp.raw_map r
 cross join lateral (select ehrdb.to_bigint(r.conceptid)) target (id)
  left join pg_temp.map_concept c on c.concept_id = id;

-- name: stage_meds
-- codes with their parents
insert into pg_temp.map_staging (row, code, standard_code, description)
select row, nullif(code, ''), parent, nullif(to_jsonb(r) ->> 'description', '')
  from pg_temp.raw_map r
 cross join lateral jsonb_array_elements_text(
       coalesce(ehrdb.to_list(r.parent_codes),
                case when r.parent_codes <> '' then jsonb_build_array(r.parent_codes) else '[]' end)) as p (parent);

-- name: map_problem
-- the first row that cannot be read
select row, problem
  from (select row, case when code is null then 'has no code'
                         when octet_length(code) > 2000 then 'has a code longer than 2000 bytes'
                         when standard_code !~ '^[^/]+/.' or octet_length(standard_code) > 2000
                              then 'has a standard code that is not VOCABULARY/CODE' end as problem
          from pg_temp.map_staging where left_out is null) p
 where problem is not null
 order by row limit 1;

-- name: reasons
-- how many rows were read, kept, and why the others were not
select count(distinct row), count(distinct row) filter (where left_out is null),
       (select coalesce(jsonb_object_agg(left_out, rows), '{}')
          from (select left_out, count(distinct row) as rows from pg_temp.map_staging where left_out is not null group by 1) l)
  from pg_temp.map_staging;

-- name: marks
-- how many marks patients have
select count(*) from ehrdb.changed_patient;

-- name: put_map
-- the map as it is now, in one statement: what differs is written, and what is made of it brought in line once
with wanted as (
    select distinct on (s.code, s.standard_code) s.code, s.standard_code, s.description, s.standard_description
      from pg_temp.map_staging s where s.left_out is null order by s.code, s.standard_code, s.row
), gone as (
    delete from ehrdb.code_map m
     where m.map = %(map)s
       and not exists (select from wanted w where w.code = m.code and w.standard_code is not distinct from m.standard_code)
)
insert into ehrdb.code_map as m (map, code, standard_code, description, standard_description)
select %(map)s, w.code, w.standard_code, w.description, w.standard_description from wanted w
on conflict (map, code, standard_code) do update
   set description = excluded.description, standard_description = excluded.standard_description
 where (m.description, m.standard_description) is distinct from (excluded.description, excluded.standard_description);

-- name: lock_maps
-- nobody else changes a map, or loads new codes, meanwhile
lock table ehrdb.code_map in share row exclusive mode;

-- name: drop_map
-- no map of this name
delete from ehrdb.code_map where map = %(map)s;

-- name: codes_here
-- how many codes of events or of standard vocabularies the map fits
select count(distinct m.code_id) from ehrdb.mapped_code m where m.map = %(map)s and m.standard_code is not null;

-- name: like_here
-- what would say that codes here, which end as codes of the map do, are the same; for the commonest beginning
select format('insert into ehrdb.vocabulary_prefix values (%%L, %%L);', left(c.code, -length(tail.code)), split_part(m.code, '/', 1))
  from ehrdb.code_map m
 cross join lateral (select substr(m.code, strpos(m.code, '/') + 1) as code) tail
  join ehrdb.concept c on substring(c.code from '[^/:]+$') = tail.code
 where m.map = %(map)s and strpos(m.code, '/') > 0
 group by 1 order by count(*) desc, 1 limit 1;
