create or replace function ehrdb.explained(
    patient_a bigint, as_of_a timestamp, patient_b bigint, as_of_b timestamp
) returns table (relation text, code text, description text, weight float8, value_a text, value_b text)
language sql stable parallel safe
begin atomic
    with listed (in_a, patient_id, moment) as (
        values (true, patient_a, as_of_a), (false, patient_b, as_of_b)
    ), seen as materialized (
        -- The latest of each code; one branch runs of each patient, each from an index that holds all it needs.
        select l.in_a, e.code_id, e.unit_id, e.numeric_value, e.short_text, e.has_long_text
          from listed l
          join ehrdb.event e on e.patient_id = l.patient_id and e.valid_to = 'infinity'
         where l.moment = 'infinity'
        union all
        select l.in_a, e.code_id, e.unit_id, e.numeric_value, e.short_text, e.has_long_text
          from listed l
          join ehrdb.event e on e.patient_id = l.patient_id and e.time <= l.moment and e.valid_to > l.moment
         where l.moment < 'infinity'
    ), paired as (
        select coalesce(a.code_id, b.code_id) as code_id, a as in_a, b as in_b,
               case when b.code_id is null then 'only_a' when a.code_id is null then 'only_b'
                    else 'shared' end as relation
          from (select * from seen where seen.in_a) a
          full join (select * from seen where not seen.in_a) b on a.code_id = b.code_id
    ), clinical as materialized (
        select p.*
          from paired p
         where p.code_id not in (select f.code_id from ehrdb.concept_frequency f where not f.is_clinical)
    ), related as materialized (
        select *
          from ehrdb.related_concepts(array(select c.code_id from clinical c where c.relation = 'only_a'),
                                      array(select c.code_id from clinical c where c.relation = 'only_b'))
    ), known as materialized (
        select count(*) as patients from ehrdb.patient p
         where greatest(as_of_a, as_of_b) = 'infinity' or p.known_since < date_trunc('month', greatest(as_of_a, as_of_b))
    ), by_then as materialized (
        -- Of the past, how many had a concept by the end of the month before: nothing later counts.
        select c.code_id, coalesce(k.patients, 0) + coalesce(n.patients, 0) as patients
          from clinical c
         cross join lateral (
            select sum(o.patients) as patients from ehrdb.concept_onset o
             where o.code_id = c.code_id and o.month < date_trunc('month', greatest(as_of_a, as_of_b))::date) k
         cross join lateral (
            select sum(o.patients) as patients from ehrdb.concept_onset_change o
             where o.code_id = c.code_id and o.month < date_trunc('month', greatest(as_of_a, as_of_b))::date) n
         where greatest(as_of_a, as_of_b) < 'infinity'
    ), frequency as (
        select c.code_id, greatest(coalesce(f.patients, b.patients), 1) as patients
          from clinical c
          left join ehrdb.concept_frequency f on f.code_id = c.code_id and greatest(as_of_a, as_of_b) = 'infinity'
          left join by_then b on b.code_id = c.code_id
    ), found (relation, code_id, patients, value_a, value_b) as (
        select c.relation, c.code_id, f.patients,
               case when (c.in_a).numeric_value is not null
                    then (c.in_a).numeric_value
                         || coalesce((select ' ' || u.unit from ehrdb.unit u where u.unit_id = (c.in_a).unit_id), '')
                    when (c.in_a).has_long_text then '(long text)'
                    else (c.in_a).short_text end,
               case when (c.in_b).numeric_value is not null
                    then (c.in_b).numeric_value
                         || coalesce((select ' ' || u.unit from ehrdb.unit u where u.unit_id = (c.in_b).unit_id), '')
                    when (c.in_b).has_long_text then '(long text)'
                    else (c.in_b).short_text end
          from clinical c
          join frequency f using (code_id)
         where c.code_id not in (select r.code_id_a from related r union all select r.code_id_b from related r)
        union all
        -- As rare as the commoner of the two.
        select 'related' as relation, r.ancestor_id, greatest(fa.patients, fb.patients),
               ca.description, cb.description
          from related r
          join frequency fa on fa.code_id = r.code_id_a
          join frequency fb on fb.code_id = r.code_id_b
          join ehrdb.concept ca on ca.code_id = r.code_id_a
          join ehrdb.concept cb on cb.code_id = r.code_id_b
    )
    select f.relation, c.code, c.description, ln(1 + greatest((select k.patients from known k), f.patients)::float8 / f.patients),
           f.value_a, f.value_b
      from found f
      join ehrdb.concept c on c.code_id = f.code_id
     order by array_position(array['shared', 'related'], f.relation), 4 desc, c.code collate "C", f.value_a collate "C",
              f.value_b collate "C";
end;

comment on function ehrdb.explained(bigint, timestamp, bigint, timestamp) is
'ehr.explain_similarity of two records, each as of a moment of its own. No rows for patients who are not here.';
