create or replace function ehr.outlying_patients(
    k integer default 10, cohort bigint[] default null, encoder text default null
) returns setof ehrdb.neighbour
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('outlying_patients', cohort => $2);
    with chosen as materialized (select ehrdb.encoder_id($3) as encoder_id, ehr.centroid($2, $3)::public.halfvec as centroid
                                      where ehrdb.is_count($1, 'k') and ehrdb.is_cohort($2)),
    far as (
        select s.encoder_id, s.patient_id, 1 - (s.embedding operator(public.<=>) c.centroid) as similarity
          from chosen c
          join ehrdb.patient_embedding s using (encoder_id)
         where $2 is null or s.patient_id in (select c from unnest($2) c)
         order by s.embedding operator(public.<=>) c.centroid desc, s.patient_id
         limit case when ehrdb.is_count($1, 'k') then $1 end  -- with none to find, what is above is not reached
    )
    select row_number() over (order by f.similarity, f.patient_id)::integer, f.patient_id, f.similarity, s.as_of, s.is_stale
      from far f
      join ehrdb.served_embedding s using (encoder_id, patient_id)
     order by 1
$$;

comment on function ehr.outlying_patients(integer, bigint[], text) is
'The k members of a cohort (null: everybody) least like the cohort as a whole.
Farthest from its centroid, with the similarity to it. Unusual patients, or broken records.
Example: select * from ehr.outlying_patients(5);';
