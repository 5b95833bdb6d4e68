create or replace function ehr.explain_similarity(
    patient_a bigint, patient_b bigint, as_of timestamp default 'infinity'
) returns table (relation text, code text, description text, weight float8, value_a text, value_b text)
language sql stable parallel safe
begin atomic
    select e.relation, e.code, e.description, e.weight, e.value_a, e.value_b
      from ehrdb.explained(patient_a, explain_similarity.as_of, patient_b, explain_similarity.as_of) e
     where ehrdb.note('explain_similarity', array[$1, $2]) and ehrdb.are_known(patient_a, patient_b) and ehrdb.is_moment(explain_similarity.as_of);
end;

comment on function ehr.explain_similarity(bigint, bigint, timestamp) is
'Why two patients are alike: shared, related and differing concepts, rarest first.
Concepts both have (shared) with the last value each; pairs of different concepts under one ancestor at most two
levels above (related: the ancestor, and what each has of it); concepts that only one has (only_a, only_b). Rarest
first within each: weight = ln(1 + patients / patients with the concept), as of a past day counted to the end of the month
before it. Demographics and visits are left out. No rows: neither had a record by then. EH001: unknown patient.
Example: select * from ehr.explain_similarity(1, 2) where relation in (''shared'', ''related'') limit 10;';
