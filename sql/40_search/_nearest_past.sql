create or replace function ehrdb.nearest_past(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], as_of timestamp, excluded bigint
) returns setof ehrdb.neighbour
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan  -- a cohort of ten and one of half of everybody are not read alike
as $$
declare
    without bigint[];
    closest ehrdb.neighbour[];
begin
    -- Whom to compare, and who is missing, in one look.
    with member as materialized (
        select v.patient_id, v.as_of, v.is_stale, v.reason, v.embedding operator(public.<=>) query as distance
          from ehrdb.encoder n, ehrdb.vectors_of(cohort, for_encoder_id, n.prompt_id, nearest_past.as_of) v
         where n.encoder_id = for_encoder_id and (v.reason is null or v.reason = 'not embedded as of then')
           and v.patient_id is distinct from excluded
    ), ranked as (
        select row_number() over (order by c.distance, c.patient_id)::integer as rank, c.*
          from (select * from member m where m.reason is null order by m.distance, m.patient_id limit k) c
    )
    select array(select m.patient_id from member m where m.reason is not null order by m.patient_id),
           array(select row(r.rank, r.patient_id, 1 - r.distance, r.as_of, r.is_stale)::ehrdb.neighbour
                   from ranked r order by r.rank)
      into without, closest;
    perform ehrdb.refuse_missing(without, as_of);
    return query select * from unnest(closest);
end
$$;

comment on function ehrdb.nearest_past(integer, public.halfvec, integer, bigint[], timestamp, bigint) is
'The k members of the cohort (null: all patients) most similar to a vector, by their records as of a past moment: nobody''s later record is looked at. EH004 where members of the
cohort cannot be compared as of then.';
