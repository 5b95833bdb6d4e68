create or replace function ehr.monitor(tasks text[] default null, encoder text default null)
returns table (
    task text, month date, labels bigint, patients bigint, predicted float8, observed float8, population_stability float8,
    unknown_codes float8, verdict text, head_id integer
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_noted constant boolean := ehrdb.note('monitor');
    for_encoder_id constant integer := ehrdb.encoder_id($2);
begin
    perform ehrdb.head_of(t.task, for_encoder_id) from unnest($1) t (task);
    return query
    with scored as materialized (
        select m.* from ehrdb.monitored(for_encoder_id, $1) m
    ), reference as (
        select s.head_id, count(*)::float8 as labels,
               percentile_cont(array[.1, .2, .3, .4, .5, .6, .7, .8, .9]) within group (order by s.probability) as tenths
          from scored s where s.is_reference group by s.head_id
    ), placed as (
        select s.*, r.labels as reference_labels, width_bucket(s.probability, r.tenths) as tenth
          from scored s left join reference r using (head_id)
    ), expected as (
        select p.head_id, p.tenth, count(*) as labels from placed p where p.is_reference group by p.head_id, p.tenth
    ), month as (
        select p.head_id, p.month, count(*) as labels, count(distinct p.patient_id) as patients,
               avg(p.probability) as predicted, avg(p.is_positive)::float8 as observed,
               (sum(p.is_positive) - sum(p.probability))
               / nullif(sqrt(sum(p.probability * (1 - p.probability))), 0) as surprise,
               min(p.reference_labels) as reference_labels
          from placed p group by p.head_id, p.month
    ), stability as (
        -- Half a label more in each tenth, so that an empty one counts.
        select g.head_id, g.month, sum((g.here - g.there) * ln(g.here / g.there)) as index
          from (select m.head_id, m.month, (coalesce(f.labels, 0) + .5) / (m.labels + 5)::float8 as here,
                       (coalesce(e.labels, 0) + .5) / (m.reference_labels + 5) as there
                  from month m
                 cross join generate_series(0, 9) t (tenth)
                  left join (select p.head_id, p.month, p.tenth, count(*) as labels
                               from placed p group by p.head_id, p.month, p.tenth) f
                    on f.head_id = m.head_id and f.month = m.month and f.tenth = t.tenth
                  left join expected e on e.head_id = m.head_id and e.tenth = t.tenth) g
         group by g.head_id, g.month
    ), coded as (
        select m.head_id, m.month, m.is_reference,
               count(*) filter (where coalesce(c.description, '') = '') as unknown, count(*) as events
          from (select distinct s.head_id, s.month, s.patient_id, s.is_reference from scored s) m
          join ehrdb.event e on e.patient_id = m.patient_id and e.time >= m.month and e.time < m.month + interval '1 month'
          join ehrdb.concept c using (code_id)
         group by m.head_id, m.month, m.is_reference
    ), unknown as (
        select c.head_id, c.month, sum(c.unknown)::float8 / sum(c.events) as share,
               (sum(sum(c.unknown) filter (where c.is_reference)) over (partition by c.head_id))::float8
               / nullif(sum(sum(c.events) filter (where c.is_reference)) over (partition by c.head_id), 0) as usual
          from coded c group by c.head_id, c.month
    ), told as (
        select h.target, m.*, s.index, u.share, m.patients > 10 as is_shown,
               case when m.patients <= 10 then 'too few'
                    when m.surprise < -2.576 then 'predicts too much'
                    when m.surprise > 2.576 then 'predicts too little'
                    when s.index > greatest(.25, 21.67 * (1.0 / m.labels + 1 / m.reference_labels)) then 'scores have shifted'
                    when u.share > coalesce(u.usual, 0) + .05 then 'codes without words'
                    else 'as expected' end as verdict
          from month m
          join ehrdb.head h using (head_id)
          left join stability s on s.head_id = m.head_id and s.month = m.month
          left join unknown u on u.head_id = m.head_id and u.month = m.month
    )
    select t.target, t.month, t.labels, t.patients, case when t.is_shown then t.predicted end,
           case when t.is_shown then t.observed end, case when t.is_shown then t.index end,
           case when t.is_shown then t.share end, t.verdict, t.head_id
      from told t
     order by t.target, t.month;
end
$$;

comment on function ehr.monitor(text[], text) is
'How heads do month by month: predicted against observed, and whether their inputs drift.
Of labels that a head has not learned from: those of test patients, and everybody''s after the last label that it learned
from. predicted, observed: means; population_stability: of the probabilities against those up to that label, in tenths;
unknown_codes: the share of those patients'' events of the month that no description puts into words. verdict: too few (10 patients
or fewer: figures are withheld); predicts too much, predicts too little (chance alone would do that once in a hundred months);
scores have shifted (above .25 and above what chance does); codes without words (5 in a hundred more than before); as expected.
tasks null: all with a head; findings and intervals are left out. Label anew first: `ehrdb monitor` does both. EH005, EH006:
unknown task, no head.
Example: select month, predicted, observed, verdict from ehr.monitor(array[''guo_los'']) order by month desc;';
