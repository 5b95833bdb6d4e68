create or replace function ehr.embeddings_at(
    patient_ids bigint[], as_ofs timestamp[], encoder text default null
) returns table (
    "position" integer, patient_id bigint, as_of timestamp, embedding public.vector, known_until timestamp,
    is_stale boolean, reason text
)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('embeddings_at', $1);
    select v.place, v.patient_id, v.moment, v.embedding::public.vector, v.as_of, v.is_stale, v.reason
      from ehrdb.encoder n, ehrdb.vectors_at(n.encoder_id, n.prompt_id, $1, $2) v
     where n.encoder_id = ehrdb.encoder_id($3) and ehrdb.are_pairs($1, $2)
     order by v.place;
end;

comment on function ehr.embeddings_at(bigint[], timestamp[], text) is
'The embeddings of patients'' records, each as of a moment of their own: one row for each pair.
patient_ids and as_ofs are parallel lists. known_until is the moment up to which the vector knows the record; infinity stands for
now, where the newest vector answers and is_stale says whether the record went on. A pair without a vector of its text has none,
and reason says why: unknown patient, no record by then, nothing to embed by then, not embedded as of then (`ehrdb refresh --at`
embeds such). EH003: unknown encoder; EH007: lists that do not fit together.
Example: select as_of, reason from ehr.embeddings_at(array[1, 1], array[''2020-01-01'', ''2021-01-01'']::timestamp[]);';
