create or replace function ehr.explain_similarity_at(
    patients_a bigint[], as_ofs_a timestamp[], patients_b bigint[], as_ofs_b timestamp[]
) returns table (
    "position" integer, patient_a bigint, as_of_a timestamp, patient_b bigint, as_of_b timestamp, relation text, code text,
    description text, weight float8, value_a text, value_b text, reason text
)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('explain_similarity_at', array(select unnest($1) union all select unnest($3)));
    select a.place::integer, a.patient_id, a.moment, b.patient_id, b.moment, e.relation, e.code, e.description, e.weight, e.value_a,
           e.value_b, u.reason
      from unnest($1, $2) with ordinality a (patient_id, moment, place)
      join unnest($3, $4) with ordinality b (patient_id, moment, place) using (place)
     cross join lateral (
        select nullif(concat_ws('; ', 'a: ' || ehrdb.why_no_record(a.patient_id, a.moment),
                                'b: ' || ehrdb.why_no_record(b.patient_id, b.moment)), '') as reason) u
      left join lateral ehrdb.explained(a.patient_id, a.moment, b.patient_id, b.moment) e on u.reason is null
     where ehrdb.are_pairs($1, $2) and ehrdb.are_pairs($3, $4) and ehrdb.are_parallel($1, $3)
     order by a.place, array_position(array['shared', 'related', 'only_a', 'only_b'], e.relation), e.weight desc,
              e.code collate "C", e.value_a collate "C", e.value_b collate "C";
end;

comment on function ehr.explain_similarity_at(bigint[], timestamp[], bigint[], timestamp[]) is
'Why records are alike two by two, each as of a moment of its own: shared, related and differing concepts.
Four parallel lists, and the rows of ehr.explain_similarity for each position; the same patient at two moments says what came to
a record. Where one of the two has no record by then there is one row, and reason says whose (a, b) and why. EH007: lists that do
not fit together.
Example: select code, value_a, value_b from ehr.explain_similarity_at(array[1], array[''2020-01-01'']::timestamp[], array[1], array[''2021-01-01'']::timestamp[]);';
