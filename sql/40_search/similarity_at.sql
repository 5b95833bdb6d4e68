create or replace function ehr.similarity_at(
    patients_a bigint[], as_ofs_a timestamp[], patients_b bigint[], as_ofs_b timestamp[], encoder text default null
) returns table (
    "position" integer, patient_a bigint, as_of_a timestamp, patient_b bigint, as_of_b timestamp, similarity float8,
    reason text
)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('similarity_at', array(select unnest($1) union all select unnest($3)));
    select a.place, a.patient_id, a.moment, b.patient_id, b.moment, 1 - (a.embedding operator(public.<=>) b.embedding),
           nullif(concat_ws('; ', 'a: ' || a.reason, 'b: ' || b.reason), '')
      from ehrdb.encoder n
     cross join lateral ehrdb.vectors_at(n.encoder_id, n.prompt_id, $1, $2) a
     cross join lateral ehrdb.vectors_at(n.encoder_id, n.prompt_id, $3, $4) b
     where n.encoder_id = ehrdb.encoder_id($5) and a.place = b.place
       and ehrdb.are_pairs($1, $2) and ehrdb.are_pairs($3, $4) and ehrdb.are_parallel($1, $3)
     order by a.place;
end;

comment on function ehr.similarity_at(bigint[], timestamp[], bigint[], timestamp[], text) is
'Cosine similarity of records two by two, each as of a moment of its own.
Four parallel lists; the same patient at two moments says how far a record has moved. Where one of the two has no vector of its
text there is no similarity, and reason says whose (a, b) and why: embed such with `ehrdb refresh --at`. EH007: lists that do not
fit together.
Example: select similarity from ehr.similarity_at(array[1], array[''2020-01-01'']::timestamp[], array[1], array[''2021-01-01'']::timestamp[]);';
