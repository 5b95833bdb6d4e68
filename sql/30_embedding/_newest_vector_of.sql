create or replace function ehrdb.newest_vector_of(
    cohort bigint[], for_encoder_id integer, for_prompt_id integer, moment timestamp
) returns table (patient_id bigint, as_of timestamp, embedding public.halfvec)
language sql stable parallel safe
begin atomic
    -- Inlined, as ehrdb.newest_vector is. Members are looked up one by one: a filter would come after everybody's.
    select v.patient_id, v.as_of, v.embedding
      from ehrdb.newest_vector(for_encoder_id, for_prompt_id, moment) v
     where cohort is null
    union all
    select v.patient_id, v.as_of, v.embedding
      from (select distinct c as patient_id from unnest(cohort) c) member
     cross join lateral (
        select n.* from ehrdb.newest_vector(for_encoder_id, for_prompt_id, moment) n
         where n.patient_id = member.patient_id) v;
end;

comment on function ehrdb.newest_vector_of(bigint[], integer, integer, timestamp) is
'ehrdb.newest_vector of the members of a cohort (null: of everybody).';
