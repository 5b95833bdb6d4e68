-- name: patients
-- by split: how many, sex, age at the last event, and how much is known of them
with known as (
    select p.patient_id, coalesce(p.split, ehrdb.split_of(p.patient_id)) as split, p.sex, p.birth_time
      from ehrdb.patient p
), recorded as (
    select e.patient_id, count(*) as events, count(*) filter (where e.visit_class is not null) as visits,
           max(e.time) filter (where isfinite(e.time)) as last_time
      from ehrdb.event e
     group by e.patient_id
)
select coalesce(k.split, 'all') as split, count(*) as patients,
       count(*) filter (where k.sex = 'F') as women, count(*) filter (where k.sex = 'M') as men,
       percentile_cont(0.5) within group (order by extract(epoch from r.last_time - k.birth_time) / 31557600)
           as median_age,
       min(coalesce(r.events, 0)) as fewest_events, avg(coalesce(r.events, 0))::float8 as mean_events,
       max(coalesce(r.events, 0)) as most_events,
       min(coalesce(r.visits, 0)) as fewest_visits, avg(coalesce(r.visits, 0))::float8 as mean_visits,
       max(coalesce(r.visits, 0)) as most_visits
  from known k
  left join recorded r using (patient_id)
 group by grouping sets ((k.split), ())
 order by grouping(k.split), array_position(array['train', 'val', 'test'], k.split);

-- name: labels
-- of these tasks by split; an X-ray is positive where it shows anything
with known as (
    select l.task, coalesce(p.split, ehrdb.split_of(p.patient_id)) as split, l.patient_id, p.sex,
           case when l.task = 'chexpert' then l.value <> 8192 else l.value > 0 end as is_positive,
           extract(epoch from l.prediction_time - p.birth_time) / 31557600 as age
      from ehrdb.label l
      join ehrdb.patient p using (patient_id)
     where l.task = any (%(tasks)s) or %(tasks)s::text[] is null
)
select k.task, k.split, count(*) as labels, count(*) filter (where k.is_positive) as positive_labels,
       count(distinct k.patient_id) as patients,
       count(distinct k.patient_id) filter (where k.is_positive) as positive_patients,
       count(distinct k.patient_id) filter (where k.sex = 'F') as women,
       percentile_cont(0.5) within group (order by k.age) as median_age
  from known k
 group by k.task, k.split
 order by k.task, array_position(array['train', 'val', 'test'], k.split);

-- name: categories
-- of the formats' rules: events, codes and patients of each category, most events first
select coalesce(g.category, 'none') as category, count(*) as events, count(distinct e.code_id) as codes,
       count(distinct e.patient_id) as patients,
       count(*) filter (where e.numeric_value is not null) as numbers,
       count(*) filter (where e.numeric_value is null and e.text_value is not null) as texts
  from ehrdb.event e
  left join ehrdb.concept_category g on g.code_id = e.code_id and g.rules = 'paper'
 group by g.category
 order by events desc;
