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
    ), paired as (
        select coalesce(a.code_id, b.code_id) as code_id, a.value as value_a, b.value as value_b,
               case when b.code_id is null then 'only_a' when a.code_id is null then 'only_b'
                    else 'shared' end as relation
          from (select * from latest where latest.patient_id = patient_a) a
          full join (select * from latest where latest.patient_id = patient_b) b on a.code_id = b.code_id
    )
    select p.relation, c.code, c.description,
           ln(1 + (select count(*) from ehrdb.patient)::float8 / coalesce(f.patients, 1)), p.value_a, p.value_b
      from paired p
      join ehrdb.concept c using (code_id)
      left join ehrdb.concept_frequency f using (code_id)
     order by p.relation = 'shared' desc, 4 desc, c.code;
end;

comment on function ehr.explain_similarity(bigint, bigint, timestamp) is
'Why two patients are alike: the concepts both have (shared), and those only one has, rarest first, with the
last value each. weight = ln(1 + patients / patients with the concept).
Example: select * from ehr.explain_similarity(1, 2) where relation = ''shared'' limit 10;';
