create or replace function ehr.match_cohort(
    cohort bigint[], candidates bigint[] default null, ratio integer default 1, caliper float8 default null,
    same_sex boolean default false, age_band integer default null, as_of timestamp default 'infinity',
    encoder text default null,
    out case_id bigint, out control_id bigint, out similarity float8
) returns setof record
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    is_noted constant boolean := ehrdb.note('match_cohort', cohort => $1);
    for_encoder_id constant integer := ehrdb.encoder_id(encoder);
    cases bigint[];
    reachable bigint[];
begin
    perform ehrdb.can_match(ratio, caliper, age_band), ehrdb.is_cohort(cohort), ehrdb.is_cohort(candidates),
            ehrdb.is_moment(as_of);
    if cohort is null then
        raise exception using errcode = 'EH010', message = 'whose controls? The cohort is null',
            hint = 'For example: ehr.match_cohort(array[1, 2, 3])';
    end if;
    cases := array(select distinct c from unnest(cohort) c order by 1);
    reachable := array(
        select p.patient_id from ehrdb.patient p
         where (candidates is null or p.patient_id in (select c from unnest(candidates) c))
           and p.patient_id not in (select c from unnest(cases) c));
    if as_of <> 'infinity' then
        perform ehrdb.require_snapshot(for_encoder_id, cases || reachable, as_of);
    end if;
    return query
    select cases[m.case_place], reachable[m.control_place], m.similarity
      from ehrdb.match(for_encoder_id, cases, array_fill(as_of, array[cardinality(cases)]),
                       reachable, array_fill(as_of, array[cardinality(reachable)]), ratio, caliper, same_sex, age_band) m;
end
$$;

comment on function ehr.match_cohort(bigint[], bigint[], integer, float8, boolean, integer, timestamp, text) is
'Controls for a cohort: for each case the most similar candidates, each used once.
Up to ratio of the candidates (null: everybody else) for each case, closest pairs first (greedy, without replacement).
caliper: the largest cosine distance (1 - similarity) accepted. same_sex and age_band (years) must agree exactly, the
age taken at the last event. With as_of, records are compared as of then. Cases may get fewer: count them, and judge
the match by ehr.cohort_balance.
Example: select * from ehr.match_cohort(array[1, 2, 3], ratio => 2, same_sex => true, age_band => 10);';
