create or replace function ehr.match_cohort_at(
    patient_ids bigint[], as_ofs timestamp[], candidate_ids bigint[], candidate_as_ofs timestamp[],
    ratio integer default 1, caliper float8 default null, same_sex boolean default false, age_band integer default null,
    encoder text default null
) returns table (
    "position" integer, case_id bigint, case_as_of timestamp, control_id bigint, control_as_of timestamp, similarity float8,
    reason text
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    is_noted constant boolean := ehrdb.note('match_cohort_at', cohort => $1);
    for_encoder_id constant integer := ehrdb.encoder_id($9);
    controls integer[];
begin
    perform ehrdb.can_match($5, $6, $8), ehrdb.are_pairs($1, $2), ehrdb.are_pairs($3, $4);
    -- Nobody is a case and a control.
    controls := array(
        select c.place from unnest($3) with ordinality c (patient_id, place)
         where c.patient_id not in (select p from unnest($1) p) order by 1);
    return query
    with chosen as materialized (
        select array(select $3[o] from unnest(controls) with ordinality c (o, n) order by n) as ids,
               array(select $4[o] from unnest(controls) with ordinality c (o, n) order by n) as as_ofs
    ), missing as materialized (
        -- A match among the others would change with the next refresh.
        select format('%s candidates are not embedded as of their moments', count(*)) as reason
          from chosen s, ehrdb.paired_vectors(for_encoder_id, s.ids, s.as_ofs) v where v.reason = 'not embedded as of then'
        having count(*) > 0
    ), found as materialized (
        select m.* from chosen s, ehrdb.match(for_encoder_id, $1, $2, s.ids, s.as_ofs, $5, $6, $7, $8) m
         where not exists (select from missing)
    )
    select v.place, v.patient_id, v.moment, $3[controls[f.control_place]], $4[controls[f.control_place]], f.similarity,
           coalesce(v.reason, (select m.reason from missing m), case when f.case_place is null then 'no control is left' end)
      from ehrdb.paired_vectors(for_encoder_id, $1, $2) v
      left join found f on f.case_place = v.place
     order by v.place, f.similarity desc, f.control_place;
end
$$;

comment on function ehr.match_cohort_at(bigint[], timestamp[], bigint[], timestamp[], integer, float8, boolean, integer, text) is
'Controls for cases, cases and candidates each as of an index date of their own.
As ehr.match_cohort, with cases and candidates as parallel lists of patients and moments; a candidate with several moments is
matched at the best and used once. Every case has a row: without controls, control_id is null and reason says why (no vector of
its text, no control left). Candidates who are not embedded as of their moments have to be first: `ehrdb refresh --at`. Judge the
match by ehr.cohort_balance_at. EH007: lists that do not fit together.
Example: select m.* from ehr.cohort_moments(7) a, ehr.cohort_moments(8) b, ehr.match_cohort_at(a.patient_ids, a.as_ofs, b.patient_ids, b.as_ofs) m;';
