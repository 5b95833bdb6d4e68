create or replace function ehrdb.vectors_at(
    for_encoder_id integer, for_prompt_id integer, patient_ids bigint[], moments timestamp[]
) returns table (
    place integer, patient_id bigint, moment timestamp, as_of timestamp, is_stale boolean, reason text,
    embedding public.halfvec
)
language sql stable parallel safe
begin atomic
    -- Inlined, as ehrdb.newest_vector is. Points are looked up one by one: a filter would come after everybody's. So
    -- `offset 0`: pulled up, the condition on patient_id would not go down into what is distinct.
    select a.place::integer, a.patient_id, a.moment, case when h.holds then v.as_of end, v.goes_on or not h.is_same,
           case when not h.holds then ehrdb.why_no_vector(for_encoder_id, a.patient_id, a.moment) end,
           case when h.holds then v.embedding end
      from unnest(patient_ids, moments) with ordinality a (patient_id, moment, place)
      left join lateral (
        select n.*, g.is_stale as goes_on
          from ehrdb.newest_vector(for_encoder_id, for_prompt_id, a.moment) n,
               ehrdb.record_goes_on(n.patient_id, n.as_of, a.moment) g
         where n.patient_id = a.patient_id
        offset 0) v on true
     cross join lateral (
        select coalesce(s.is_same, false) as is_same,
               v.patient_id is not null and (a.moment = 'infinity' or not v.goes_on and coalesce(s.is_same, false)) as holds
          -- Asked here as well: to call a function for each costs five times what the rest does.
          from (select v.patient_id is not null
                       and (not exists (select from ehrdb.changed_patient m where m.patient_id = a.patient_id)
                            or ehrdb.text_holds(for_encoder_id, for_prompt_id, a.patient_id, v.as_of)) as is_same) s) h;
end;

comment on function ehrdb.vectors_at(integer, integer, bigint[], timestamp[]) is
'For each patient and moment (parallel arrays) the vector of the text as of that moment, or the reason why there is none.
infinity stands for now: the newest vector answers, however old, and says whether it is stale.';
