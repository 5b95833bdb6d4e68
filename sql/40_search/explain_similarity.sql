create or replace function ehr.explain_similarity(
    patient_a bigint, patient_b bigint, as_of timestamp default 'infinity'
) returns table (relation text, code text, description text, weight float8, value_a text, value_b text)
language sql stable parallel safe
begin atomic
    with seen as materialized (
        -- The latest of each code; one branch runs, each from an index that holds all it needs.
        select e.patient_id, e.code_id, e.unit_id, e.numeric_value, e.short_text, e.has_long_text
          from ehrdb.event e
         where ehrdb.are_known(patient_a, patient_b) and ehrdb.is_moment(explain_similarity.as_of)
           and explain_similarity.as_of = 'infinity' and e.patient_id in (patient_a, patient_b) and e.valid_to = 'infinity'
        union all
        select e.patient_id, e.code_id, e.unit_id, e.numeric_value, e.short_text, e.has_long_text
          from ehrdb.event e
         where ehrdb.are_known(patient_a, patient_b) and explain_similarity.as_of < 'infinity' and e.patient_id in (patient_a, patient_b)
           and e.time <= explain_similarity.as_of and e.valid_to > explain_similarity.as_of
    ), paired as (
        select coalesce(a.code_id, b.code_id) as code_id, a as in_a, b as in_b,
               case when b.code_id is null then 'only_a' when a.code_id is null then 'only_b'
                    else 'shared' end as relation
          from (select * from seen where seen.patient_id = patient_a) a
          full join (select * from seen where seen.patient_id = patient_b) b on a.code_id = b.code_id
    ), clinical as materialized (
        select p.*
          from paired p
         where p.code_id not in (select f.code_id from ehrdb.concept_frequency f where not f.is_clinical)
    ), related as materialized (
        select *
          from ehrdb.related_concepts(array(select c.code_id from clinical c where c.relation = 'only_a'),
                                      array(select c.code_id from clinical c where c.relation = 'only_b'))
    ), found (relation, code_id, patients, value_a, value_b) as (
        select c.relation, c.code_id, coalesce(f.patients, 1),
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
          left join ehrdb.concept_frequency f using (code_id)
         where c.code_id not in (select r.code_id_a from related r union all select r.code_id_b from related r)
        union all
        -- As rare as the commoner of the two.
        select 'related' as relation, r.ancestor_id, greatest(coalesce(fa.patients, 1), coalesce(fb.patients, 1)),
               ca.description, cb.description
          from related r
          left join ehrdb.concept_frequency fa on fa.code_id = r.code_id_a
          left join ehrdb.concept_frequency fb on fb.code_id = r.code_id_b
          join ehrdb.concept ca on ca.code_id = r.code_id_a
          join ehrdb.concept cb on cb.code_id = r.code_id_b
    )
    select f.relation, c.code, c.description, ln(1 + (select count(*) from ehrdb.patient)::float8 / f.patients),
           f.value_a, f.value_b
      from found f
      join ehrdb.concept c on c.code_id = f.code_id
     order by array_position(array['shared', 'related'], f.relation), 4 desc, c.code collate "C", f.value_a collate "C",
              f.value_b collate "C";
end;

comment on function ehr.explain_similarity(bigint, bigint, timestamp) is
'Why two patients are alike: shared, related and differing concepts, rarest first.
Concepts both have (shared) with the last value each; pairs of different concepts under one ancestor at most two
levels above (related: the ancestor, and what each has of it); concepts that only one has (only_a, only_b). Rarest
first within each: weight = ln(1 + patients / patients with the concept). Demographics and visits are left out. No
rows: neither had a record by then. EH001: unknown patient.
Example: select * from ehr.explain_similarity(1, 2) where relation in (''shared'', ''related'') limit 10;';
