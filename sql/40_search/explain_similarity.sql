create or replace function ehr.explain_similarity(
    patient_a bigint, patient_b bigint, as_of timestamp default 'infinity'
) returns table (relation text, code text, description text, weight float8, value_a text, value_b text)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with latest as (
        select distinct on (e.patient_id, e.code_id) e.patient_id, e.code_id,
               coalesce(e.numeric_value::text || coalesce(' ' || u.unit, ''), e.text_value) as value
          from ehrdb.event e
          left join ehrdb.unit u using (unit_id)
         where e.patient_id in (patient_a, patient_b) and e.time <= explain_similarity.as_of
         order by e.patient_id, e.code_id, e.time desc, e.ordinal
    ), clinical as (
        select * from latest l where l.code_id not in (select x.code_id from ehrdb.administrative_concept x)
    ), paired as (
        select coalesce(a.code_id, b.code_id) as code_id, a.value as value_a, b.value as value_b,
               case when b.code_id is null then 'only_a' when a.code_id is null then 'only_b'
                    else 'shared' end as relation
          from (select * from clinical where clinical.patient_id = patient_a) a
          full join (select * from clinical where clinical.patient_id = patient_b) b on a.code_id = b.code_id
    ), related as materialized (
        select r.ancestor_id, r.code_id_a, r.code_id_b
          from ehrdb.related_concepts(array(select p.code_id from paired p where p.relation = 'only_a'),
                                      array(select p.code_id from paired p where p.relation = 'only_b')) r
    ), found (relation, code_id, rarity_id, value_a, value_b) as (
        select p.relation, p.code_id, p.code_id, p.value_a, p.value_b
          from paired p
         where p.code_id not in (select r.code_id_a from related r union all select r.code_id_b from related r)
        union all
        -- As rare as the commoner of the two.
        select 'related', r.ancestor_id,
               case when coalesce(fa.patients, 1) >= coalesce(fb.patients, 1) then r.code_id_a else r.code_id_b end,
               ca.description, cb.description
          from related r
          join ehrdb.concept ca on ca.code_id = r.code_id_a
          join ehrdb.concept cb on cb.code_id = r.code_id_b
          left join ehrdb.concept_frequency fa on fa.code_id = r.code_id_a
          left join ehrdb.concept_frequency fb on fb.code_id = r.code_id_b
    )
    select f.relation, c.code, c.description,
           ln(1 + (select count(*) from ehrdb.patient)::float8 / coalesce(n.patients, 1)), f.value_a, f.value_b
      from found f
      join ehrdb.concept c on c.code_id = f.code_id
      left join ehrdb.concept_frequency n on n.code_id = f.rarity_id
     order by array_position(array['shared', 'related'], f.relation), 4 desc, c.code, f.value_a, f.value_b;
end;

comment on function ehr.explain_similarity(bigint, bigint, timestamp) is
'Why two patients are alike: concepts both have (shared) with the last value each; pairs of different concepts under
one ancestor at most two levels above (related: the ancestor, and what each has of it); concepts that only one has
(only_a, only_b). Rarest first within each: weight = ln(1 + patients / patients with the concept). Demographics and
visits are left out.
Example: select * from ehr.explain_similarity(1, 2) where relation in (''shared'', ''related'') limit 10;';
