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
    for_encoder_id constant integer := ehrdb.encoder_id(encoder);
    reachable bigint[];
    used bigint[] := '{}';
    missing jsonb;
    depth integer;
    pair record;
begin
    perform ehrdb.is_count(ratio, 'ratio'), ehrdb.is_cohort(cohort), ehrdb.is_cohort(candidates), ehrdb.is_moment(as_of),
            ehrdb.is_between(coalesce(caliper, 0), 'caliper', 0, 2), ehrdb.is_count(coalesce(age_band, 1), 'age_band');
    if cohort is null then
        raise exception using errcode = 'EH010', message = 'whose controls? The cohort is null',
            hint = 'For example: ehr.match_cohort(array[1, 2, 3])';
    end if;
    depth := 10 * ratio;
    missing := (select jsonb_object_agg(c, ratio) from unnest(cohort) c);
    reachable := array(
        select p.patient_id from ehrdb.patient p
         where (candidates is null or p.patient_id in (select c from unnest(candidates) c))
           and p.patient_id not in (select c from unnest(cohort) c));
    if as_of <> 'infinity' then
        perform ehrdb.require_snapshot(for_encoder_id, cohort || reachable, as_of, null);
    end if;
    -- Closest pairs first, every control once. The nearest few of each case come first; cases whose nearest were
    -- taken by others look ten times deeper, until all are served or nobody is left.
    loop
        for pair in
            select * from ehrdb.closest_pairs(
                for_encoder_id, array(select k::bigint from jsonb_object_keys(missing) k),
                array(select r from unnest(reachable) r except select u from unnest(used) u),
                depth, caliper, same_sex, age_band, as_of) p
             order by p.similarity desc, p.case_id, p.control_id
        loop
            continue when pair.control_id = any (used) or not missing ? pair.case_id::text;
            used := used || pair.control_id;
            missing := case when (missing ->> pair.case_id::text)::integer = 1 then missing - pair.case_id::text
                            else jsonb_set(missing, array[pair.case_id::text],
                                           to_jsonb((missing ->> pair.case_id::text)::integer - 1)) end;
            case_id := pair.case_id; control_id := pair.control_id; similarity := pair.similarity;
            return next;
        end loop;
        exit when missing is null or missing = '{}' or depth >= cardinality(reachable);
        depth := depth * 10;
    end loop;
end
$$;

comment on function ehr.match_cohort(bigint[], bigint[], integer, float8, boolean, integer, timestamp, text) is
'Controls for a cohort: for each case the most similar candidates, each used once.
Up to ratio of the candidates (null: everybody else) for each case, closest pairs first (greedy, without replacement).
caliper: the largest cosine distance (1 - similarity) accepted. same_sex and age_band (years) must agree exactly, the
age taken at the last event. With as_of, records are compared as of then. Cases may get fewer: count them, and judge
the match by ehr.cohort_balance.
Example: select * from ehr.match_cohort(array[1, 2, 3], ratio => 2, same_sex => true, age_band => 10);';
