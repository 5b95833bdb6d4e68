create or replace function ehr.duplicate_patients(
    threshold float8 default 0.999, cohort bigint[] default null, encoder text default null
) returns table (patient_a bigint, patient_b bigint, similarity float8, has_same_text boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('duplicate_patients', cohort => $2);
    with chosen as materialized (
        select ehrdb.encoder_id($3) as encoder_id where ehrdb.is_between($1, 'threshold', -1, 1) and ehrdb.is_cohort($2)
    ),
    member as (
        select s.*
          from chosen
          join ehrdb.patient_embedding s using (encoder_id)
         where $2 is null or s.patient_id in (select c from unnest($2) c)
    ), close as (
        select m.patient_id, n.patient_id as other_id
          from member m
         cross join lateral unnest(
            case when ehrdb.search_by_index(m.encoder_id, cardinality($2))
                 then ehrdb.nearest_by_index(m.encoder_id, m.embedding, 10, $2, m.patient_id)
                 else ehrdb.nearest_exact(m.encoder_id, m.embedding, 10, $2, m.patient_id) end) as n (patient_id)
    )
    select a.patient_id, b.patient_id, 1 - (a.embedding operator(public.<=>) b.embedding), a.content_sha256 = b.content_sha256
      from (select distinct least(patient_id, other_id) as low, greatest(patient_id, other_id) as high from close) pair
      join member a on a.patient_id = pair.low
      join member b on b.patient_id = pair.high
     where 1 - (a.embedding operator(public.<=>) b.embedding) >= $1
     order by 3 desc, 1, 2
$$;

comment on function ehr.duplicate_patients(float8, bigint[], text) is
'Pairs of patients whose records are nearly the same.
Similarity at or above the threshold, most alike first, and whether even their texts are equal. Each patient''s ten
nearest are looked at. Compares everybody with everybody up to 20,000 patients (a minute or so there), asks the index
above.
Example: select * from ehr.duplicate_patients(0.9999);';
