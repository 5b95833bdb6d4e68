-- Where there is a curve (log odds, ascending, and the probability at each), it takes the place of slope and shift. The
-- bounds are of the calibration alone. base_rate: the share of positive labels.
alter table ehrdb.head
    add column curve_at float8[], add column curve_value float8[],
    add column bounds_at float8[], add column bounds_lower float8[], add column bounds_upper float8[],
    add column base_rate float8;
-- Heads on more than 2,000 dimensions do not fit into a page.
alter table ehrdb.head alter column weights set storage main;

update ehrdb.head h
   set base_rate = (select sum(v.value::bigint) from jsonb_each_text(h.provenance -> 'positives') v)
                   / (select nullif(sum(v.value::bigint), 0) from jsonb_each_text(h.provenance -> 'labels') v)
 where not exists (select from ehrdb.task t where t.task = h.task and t.kind = 'survival');

-- What stands beside a probability.
alter type ehrdb.prediction
    add attribute lower float8, add attribute upper float8, add attribute base_rate float8, add attribute head_id integer;
alter type ehrdb.task_prediction
    add attribute lower float8, add attribute upper float8, add attribute base_rate float8, add attribute head_id integer;
alter type ehrdb.survival add attribute base_survival float8;
