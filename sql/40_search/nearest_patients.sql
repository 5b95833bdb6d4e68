create or replace function ehr.nearest_patients(
    patient_id bigint, k integer default 10, cohort bigint[] default null,
    as_of timestamp default 'infinity', encoder text default null
) returns setof ehrdb.neighbour
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('nearest_patients', array[$1], $3);
    select * from ehrdb.nearest(ehrdb.encoder_id($5), ehr.embedding($1, $4, $5)::public.halfvec, $2, $3, $4, $1)
$$;

comment on function ehr.nearest_patients(bigint, integer, bigint[], timestamp, text) is
'The k patients most similar to this one, nearest first.
Itself excluded; with cosine similarity, the moment up to which each neighbour''s vector knows the record (known_until), and whether
it is stale. cohort limits the search to those patients; always k rows where it has them. With as_of, nobody''s later
record is looked at. EH001: unknown patient, or nobody in the cohort is known; EH010: what is no count, cohort or
moment.
Example: select * from ehr.nearest_patients(1, 5);
Example: select * from ehr.nearest_patients(1, 5, array(select patient_id from ehr.patient where sex = ''F''));';

create or replace function ehr.nearest_patients(
    query_vector public.vector, k integer default 10, cohort bigint[] default null, encoder text default null
) returns setof ehrdb.neighbour
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('nearest_patients', cohort => $3);
    select * from ehrdb.nearest(ehrdb.encoder_id($4), ehrdb.query_vector(ehrdb.encoder_id($4), $1), $2, $3, 'infinity', null)
$$;

comment on function ehr.nearest_patients(public.vector, integer, bigint[], text) is
'The k patients most similar to a vector of the same encoder, nearest first.
EH010: a vector that is null, zero, or of other dimensions.
Example: select * from ehr.nearest_patients(ehr.embedding(1), 5);';
