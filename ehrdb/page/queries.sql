-- name: patient
-- who this is, as of a moment; no row: unknown, or not theirs to see
select p.patient_id, p.sex, p.birth_time,
       case when p.death_time <= %(as_of)s then p.death_time end as death_time,
       extract(year from age(least(%(as_of)s, p.death_time, e.last), p.birth_time))::integer as age, e.events, e.first,
       e.last
  from ehr.patient p
 cross join lateral (select count(*) as events, min(e.time) as first, max(e.time) as last
                       from ehr.event e
                      where e.patient_id = p.patient_id and (e.time is null or e.time <= %(as_of)s)) e
 where p.patient_id = %(patient_id)s;

-- name: events
-- newest first, as known at the moment: at most so many, of a table if one is named, before an event if one is named
select e.time, case when e.end_time <= %(as_of)s then e.end_time end as end_time, e.code,
       left(coalesce(e.description, e.code), 300) as description, e.numeric_value, left(e.text_value, 300) as text_value,
       length(e.text_value) > 300 as is_cut, e.unit, e.visit_id, e.source_table, e.ordinal
  from ehr.event e
 where e.patient_id = %(patient_id)s and (e.time is null or e.time <= %(as_of)s)
   and (%(category)s::text is null or e.source_table = %(category)s)
   and (%(before)s::integer is null or e.ordinal < %(before)s)
 order by e.ordinal desc
 limit %(limit)s;

-- name: categories
-- which tables the patient's events come from
select e.source_table as category, count(*) as events
  from ehr.event e
 where e.patient_id = %(patient_id)s and (e.time is null or e.time <= %(as_of)s) and e.source_table is not null
 group by e.source_table order by e.source_table;

-- name: visits
-- what the visits were
select v.visit_id, v.visit_class, left(coalesce(v.description, v.code), 120) as description, v.start_time,
       case when v.end_time <= %(as_of)s then v.end_time end as end_time
  from ehr.visit v
 where v.patient_id = %(patient_id)s and v.start_time <= %(as_of)s and v.visit_id = any (%(visits)s::text[]);

-- name: measurements
-- the values most often measured, each the newest of its unit, oldest first
with measured as (
    select e.code, e.unit, e.description, e.time, e.numeric_value,
           row_number() over newest as place, count(*) over (partition by e.code, e.unit) as times
      from ehr.event e
     where e.patient_id = %(patient_id)s and e.time <= %(as_of)s and e.numeric_value is not null
       and e.numeric_value not in ('NaN', 'Infinity', '-Infinity')
    window newest as (partition by e.code, e.unit order by e.ordinal desc)
)
select code, unit, left(max(description), 80) as description, max(times) as times,
       array_agg(time order by time) as moments, array_agg(numeric_value::float8 order by time) as figures
  from measured
 where place <= 40 and times > 1
 group by code, unit
 order by max(times) desc, code
 limit 12;

-- name: reasons
-- the rarest concepts that each neighbour shares with the patient
select n.patient_id, array(select left(coalesce(e.description, e.code), 80)
                             from ehr.explain_similarity(%(patient_id)s, n.patient_id, %(as_of)s) e
                            where e.relation = 'shared' order by e.weight desc limit 3) as shared
  from unnest(%(neighbours)s::bigint[]) as n (patient_id);

-- name: heads
-- what the serving encoder can say, and from what it learned it
select h.task, h.trained_at, t.description, t.labels, t.positives, h.provenance
  from ehr.head h join ehr.task t on t.task = h.task
  join ehr.encoder n on n.name = h.encoder and n.is_serving
 order by h.task;

-- name: bearers
-- patients whose record holds a code
select distinct e.patient_id from ehr.event e where e.code = %(code)s order by e.patient_id limit 100;

-- name: members
-- the first patients there are
select p.patient_id from ehr.patient p order by p.patient_id limit 20;
