-- name: events
-- everything that is timed, in the source's order
copy (select e.patient_id, e.time, c.code, e.numeric_value, e.text_value
        from ehrdb.event e join ehrdb.concept c using (code_id)
       where e.patient_id = any (%(patients)s) and isfinite(e.time)
       order by e.patient_id, e.time, e.ordinal) to stdout (format csv);

-- name: scored_events
-- what ehrdb.count_logit counts: no long texts, and of a number with a text the number
copy (select e.patient_id, e.time, c.code, e.numeric_value, case when e.numeric_value is null then e.short_text end
        from ehrdb.event e join ehrdb.concept c using (code_id)
       where e.patient_id = any (%(patients)s) and isfinite(e.time) and not (e.has_long_text and e.numeric_value is null)
       order by e.patient_id, e.time, e.ordinal) to stdout (format csv);

-- name: ancestors
-- of every code that these patients have
with recursive used as (
    select distinct e.code_id from ehrdb.event e where e.patient_id = any (%(patients)s)
), above (code_id, ancestor_id) as (
    select u.code_id, p.parent_id from used u join ehrdb.concept_parent p on p.child_id = u.code_id
    union
    select a.code_id, p.parent_id from above a join ehrdb.concept_parent p on p.child_id = a.ancestor_id
)
select c.code, p.code
  from above a
  join ehrdb.concept c on c.code_id = a.code_id
  join ehrdb.concept p on p.code_id = a.ancestor_id;

-- name: weight_table
-- where a head's weights of counts land
create temp table count_weight (feature integer, code text, text text, low float8, high float8, weights float8[])
    on commit drop;

-- name: copy_weights
-- the rows
copy pg_temp.count_weight from stdin;

-- name: store_weights
-- the head's weights of counts
select ehrdb.store_count_weights(%(head_id)s);
