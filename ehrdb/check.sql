-- name: analyze
-- tasks are labelled among rows that this transaction wrote
analyze ehrdb.event; analyze ehrdb.concept; analyze ehrdb.patient;

-- name: units
-- units by code: those that need a look first
with by_unit as (
    select f.code, f.unit, u.dimension, sum(f.numbers)::bigint as numbers
      from pg_temp.code_figure f left join ehrdb.unit u using (unit)
     where f.numbers > 0 group by f.code, f.unit, u.dimension
), judged as (
    select b.*, count(*) over (partition by b.code) as units,
           count(nullif(b.dimension, '')) over (partition by b.code) as known,
           min(nullif(b.dimension, '')) over (partition by b.code)
           is distinct from max(nullif(b.dimension, '')) over (partition by b.code) as differs
      from by_unit b
)
select j.code, c.description, j.unit, j.numbers,
       case when j.unit is null then 'none' when j.dimension = '' then 'unknown to UCUM'
            when j.differs then 'does not convert' when j.known > 1 then 'converts' else 'fine' end
  from judged j
  left join ehrdb.concept c using (code)
 order by j.differs desc, j.units > 1 desc, j.dimension is not distinct from '' desc,
          sum(j.numbers) over (partition by j.code) desc, j.code, j.numbers desc, j.unit;

-- name: site_tasks
-- a site's own, those that a rule labels from the records alone: a cohort's rows are no part of a load
select task from ehrdb.task where declaration ->> 'shape' in ('outcome_in_window', 'aces', 'survival') order by task;

-- name: tasks
-- labels among the patients of this load, and the codes of the tasks that occur in it
select t.task, coalesce(l.labels, 0), coalesce(l.positives, 0), k.codes
  from unnest(%(tasks)s::text[]) with ordinality as n (task, place)
  join ehrdb.task t using (task)
  left join lateral (
       select count(*) as labels, count(*) filter (where ehrdb.is_positive(t, l.value)) as positives
         from ehrdb.label l
         join ehrdb.patient p using (patient_id)
        where l.task = t.task and p.source = (select source from pg_temp.this_load)) l on true
  left join lateral (
       select count(*) as codes
         from ehrdb.expanded_codes(array(select jsonb_array_elements_text(t.declaration -> 'codes'))) as e (code_id)
         join ehrdb.concept c using (code_id)
         join pg_temp.code_used u on u.code = c.code) k on t.declaration ? 'codes'
 order by n.place;
