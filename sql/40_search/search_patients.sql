create or replace function ehr.search_patients(
    query text, k integer default 10, cohort bigint[] default null, patience interval default '30 seconds',
    encoder text default null
)
returns table (
    rank integer, patient_id bigint, rank_by_words integer, rank_by_meaning integer, found text[], similarity float8,
    known_until timestamp, is_stale boolean
)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('search_patients', cohort => $3);
    -- Reciprocal ranks, 60 in the denominator: whoever is high in both comes before whoever leads one alone.
    with meaning as materialized (
        select * from ehr.nearest_to_text($1, 10 * least(greatest($2, 0), 10000), $3, $4, $5) where ehrdb.is_count($2, 'k')
    ), words as materialized (
        select * from ehr.patients_by_words($1, 10 * least(greatest($2, 0), 10000), $3)
    ), both_ways as (
        select patient_id, w.rank as by_words, m.rank as by_meaning, w.found, m.similarity, m.known_until, m.is_stale,
               coalesce(1.0 / (60 + w.rank), 0) + coalesce(1.0 / (60 + m.rank), 0) as score
          from words w full join meaning m using (patient_id)
    )
    select (row_number() over (order by b.score desc, b.by_meaning, b.patient_id))::integer, b.patient_id, b.by_words,
           b.by_meaning, b.found, b.similarity, b.known_until, b.is_stale
      from both_ways b
     order by 1
     limit case when ehrdb.is_count($2, 'k') then $2 end  -- with none to find, what is above is not reached
$$;

comment on function ehr.search_patients(text, integer, bigint[], interval, text) is
'The k patients found by words and by meaning together.
By reciprocal ranks of ehr.patients_by_words and ehr.nearest_to_text; rank_by_words, rank_by_meaning: where each way
alone has them, null beyond its first 10 k. Errors as of those two.
Example: select * from ehr.search_patients(''woman with heart failure and chronic kidney disease'', 5);';
