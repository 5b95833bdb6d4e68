create or replace function ehrdb.vectors_of(
    cohort bigint[], for_encoder_id integer, for_prompt_id integer, at timestamp
) returns table (patient_id bigint, as_of timestamp, is_stale boolean, reason text, embedding public.halfvec)
language sql stable parallel safe
begin atomic
    -- Inlined, as ehrdb.vectors_at is.
    select v.patient_id, v.as_of, v.is_stale, v.reason, v.embedding
      from (select array_agg(p.patient_id) as patient_ids
              from ehrdb.patient p
             where cohort is null or p.patient_id in (select c from unnest(cohort) c)) member
     cross join lateral ehrdb.vectors_at(
           for_encoder_id, for_prompt_id, member.patient_ids, array_fill(at, array[cardinality(member.patient_ids)])) v
     where member.patient_ids is not null;
end;

comment on function ehrdb.vectors_of(bigint[], integer, integer, timestamp) is
'ehrdb.vectors_at of the known members of a cohort (null: everybody), all as of one moment.';
