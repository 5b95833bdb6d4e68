create or replace function ehrdb.vectors_of(
    cohort bigint[], for_encoder_id integer, for_prompt_id integer, at timestamp
) returns table (patient_id bigint, as_of timestamp, is_stale boolean, reason text, embedding public.halfvec)
language sql stable parallel safe
begin atomic
    -- Inlined, as ehrdb.vectors_at is, which is asked about the few of whom this is not certain: whoever is not marked, and
    -- has a vector that neither another nor an event comes after. Those are joined, not looked for patient by patient.
    select k.patient_id, v.as_of, v.is_stale, v.reason, v.embedding
      from (select p.patient_id, x.as_of, x.embedding
              from ehrdb.patient p
              left join (
                select o.patient_id, o.as_of, e.embedding
                  from ehrdb.embedding_point o
                  join ehrdb.embedding e on e.encoder_id = o.encoder_id and e.content_sha256 = o.content_sha256
                 where o.encoder_id = for_encoder_id and o.prompt_id = for_prompt_id and o.as_of <= at
                   and not exists (select from ehrdb.changed_patient m where m.patient_id = o.patient_id)
                   and not exists (select from ehrdb.embedding_point l
                                    where l.encoder_id = for_encoder_id and l.prompt_id = for_prompt_id
                                      and l.patient_id = o.patient_id and l.as_of > o.as_of and l.as_of <= at)
                   and (o.as_of = at or not exists (select from ehrdb.event v
                                                     where v.patient_id = o.patient_id and v.time > o.as_of and v.time <= at))) x
                on x.patient_id = p.patient_id
             where cohort is null or p.patient_id in (select c from unnest(cohort) c)) k
     cross join lateral (
        select k.as_of, false as is_stale, null::text as reason, k.embedding where k.embedding is not null
        union all
        select n.as_of, n.is_stale, n.reason, n.embedding
          from ehrdb.vectors_at(for_encoder_id, for_prompt_id, array[k.patient_id], array[at]) n
         where k.embedding is null) v;
end;

comment on function ehrdb.vectors_of(bigint[], integer, integer, timestamp) is
'ehrdb.vectors_at of the known members of a cohort (null: everybody), all as of one moment.';
