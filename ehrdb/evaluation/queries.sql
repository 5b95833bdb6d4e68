-- name: events
-- everything that is timed, in the source's order
copy (select e.patient_id, e.time, c.code, e.numeric_value, e.text_value
        from ehrdb.event e join ehrdb.concept c using (code_id)
       where e.patient_id = any (%(patients)s) and isfinite(e.time)
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
