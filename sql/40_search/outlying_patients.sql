create or replace function ehr.outlying_patients(
    k integer default 10, cohort bigint[] default null, encoder text default null
) returns setof ehrdb.neighbour
language sql stable parallel safe
set search_path = pg_catalog, public, pg_temp
as $$
    with middle as materialized (select ehrdb.encoder_id($3) as encoder_id, ehr.centroid($2, $3)::halfvec as centre),
    far as (
        select s, 1 - (s.embedding <=> m.centre) as similarity
          from middle m
          join ehrdb.patient_embedding s using (encoder_id)
         where $2 is null or s.patient_id = any ($2)
         order by s.embedding <=> m.centre desc, s.patient_id
         limit $1
    )
    select row_number() over (order by f.similarity, (f.s).patient_id)::integer,
           (f.s).patient_id, f.similarity, (f.s).as_of, ehrdb.is_stale(f.s)
      from far f
     order by 1
$$;

comment on function ehr.outlying_patients(integer, bigint[], text) is
'The k members of a cohort (null: everybody) least like the cohort as a whole: farthest from its centroid, with the
similarity to it. Unusual patients, or broken records.
Example: select * from ehr.outlying_patients(5);';
