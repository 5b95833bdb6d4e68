create or replace function ehrdb.match(
    for_encoder_id integer, case_ids bigint[], case_as_ofs timestamp[], control_ids bigint[], control_as_ofs timestamp[],
    ratio integer, caliper float8, same_sex boolean, age_band integer,
    out case_place integer, out control_place integer, out similarity float8
) returns setof record
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    wanted integer[] := array_fill(ratio, array[cardinality(case_ids)]);
    used bigint[] := '{}';
    depth integer := 10 * ratio;
    open_cases integer[];
    open_controls integer[];
    pair record;
begin
    -- Closest pairs first, every control once. The nearest few of each case come first; cases whose nearest were
    -- taken by others look ten times deeper, until all are served or nobody is left.
    loop
        open_cases := array(select w.place from unnest(wanted) with ordinality w (count, place) where w.count > 0 order by 1);
        open_controls := array(
            select c.place from unnest(control_ids) with ordinality c (patient_id, place)
             where c.patient_id not in (select u from unnest(used) u) order by 1);
        for pair in
            select open_cases[p.case_place] as case_place, open_controls[p.control_place] as control_place, p.similarity
              from ehrdb.closest_pairs(
                   for_encoder_id, array(select case_ids[o] from unnest(open_cases) with ordinality c (o, n) order by n),
                   array(select case_as_ofs[o] from unnest(open_cases) with ordinality c (o, n) order by n),
                   array(select control_ids[o] from unnest(open_controls) with ordinality c (o, n) order by n),
                   array(select control_as_ofs[o] from unnest(open_controls) with ordinality c (o, n) order by n),
                   depth, caliper, same_sex, age_band) p
             order by p.similarity desc, case_ids[open_cases[p.case_place]], control_ids[open_controls[p.control_place]], 1, 2
        loop
            continue when wanted[pair.case_place] = 0 or control_ids[pair.control_place] = any (used);
            used := used || control_ids[pair.control_place];
            wanted[pair.case_place] := wanted[pair.case_place] - 1;
            case_place := pair.case_place;
            control_place := pair.control_place;
            similarity := pair.similarity;
            return next;
        end loop;
        exit when 0 = all (wanted) or depth >= cardinality(control_ids);
        depth := depth * 10;
    end loop;
end
$$;

comment on function ehrdb.match(integer, bigint[], timestamp[], bigint[], timestamp[], integer, float8, boolean, integer) is
'Up to ratio controls for each case, closest pairs first, every patient once as a control: places in the lists of both.';
