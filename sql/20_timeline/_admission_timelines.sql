create or replace function ehrdb.admission_timelines(
    patient_ids bigint[], as_ofs timestamp[], rules text, time_window interval
) returns table (place integer, text text)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with point as (
        select p.place::integer, p.patient_id, p.as_of
          from unnest(patient_ids, as_ofs) with ordinality as p (patient_id, as_of, place)
    ), stay as materialized (
        -- Those that were over by then: of one that goes on nobody knew all codes at its beginning.
        select p.place, v.visit_id, min(v.time) as admitted
          from point p
          join ehrdb.event v on v.patient_id = p.patient_id and v.visit_class = 'inpatient' and v.end_time <= p.as_of
         where v.visit_id is not null and isfinite(v.time)
         group by p.place, v.visit_id
    ), seen as (
        select distinct on (p.place, e.code_id) p.place, e.ordinal, moved.time, l.text
          from point p
          join ehrdb.event e on e.patient_id = p.patient_id and e.time <= p.as_of
          join ehrdb.concept_text l on l.code_id = e.code_id
          join ehrdb.concept k on k.code_id = e.code_id and k.code not in ('SNOMED/3950001', 'MEDS_BIRTH')
          left join ehrdb.concept_category c on c.rules = $3 and c.code_id = e.code_id
          left join stay s on s.place = p.place and s.visit_id = e.visit_id
         cross join lateral (select coalesce(s.admitted, e.time)) moved (time)
         where c.category is distinct from 'demographics' and ($4 is null or moved.time >= p.as_of - $4)
         order by p.place, e.code_id, moved.time desc, e.ordinal
    ), listed as (
        select s.place, string_agg(s.text, E'\n' order by s.time desc, s.ordinal) as text from seen s group by s.place
    )
    select p.place,
           case when l.text is not null then concat_ws(E'\n', l.text,
               case lower(left(d.sex, 1)) when 'm' then 'MALE' when 'f' then 'FEMALE' end,
               initcap(substring(lower(coalesce(d.race, d.ethnicity)) from '^(asian|black|white)')),
               case when d.birth_time <= p.as_of then 'Birth' end) end
      from point p
      left join listed l on l.place = p.place
      left join ehrdb.patient d on d.patient_id = p.patient_id;
end
$$;

comment on function ehrdb.admission_timelines(bigint[], timestamp[], text, interval) is
'The list of the paper''s UK Biobank study for patients at moments (parallel arrays): the names of codes, each once, newest
first, those of a stay that was over at its admission; then sex, ethnicity and Birth. Null where nothing is to be shown.';
