create or replace function ehrdb.paired_vectors(for_encoder_id integer, patient_ids bigint[], as_ofs timestamp[])
returns table (place integer, patient_id bigint, moment timestamp, reason text, embedding public.halfvec)
language sql stable parallel safe
begin atomic
    -- Of now, from where search reads; of the past, point by point.
    select a.place::integer, a.patient_id, a.moment,
           case when s.patient_id is null then ehrdb.why_no_vector(for_encoder_id, a.patient_id, a.moment) end, s.embedding
      from unnest(patient_ids, as_ofs) with ordinality a (patient_id, moment, place)
      left join ehrdb.patient_embedding s on s.encoder_id = for_encoder_id and s.patient_id = a.patient_id
     where a.moment = 'infinity'
    union all
    select p.places[v.place], v.patient_id, v.moment, v.reason, v.embedding
      from (select array_agg(a.place::integer order by a.place) as places, array_agg(a.patient_id order by a.place) as patient_ids,
                   array_agg(a.moment order by a.place) as moments
              from unnest(patient_ids, as_ofs) with ordinality a (patient_id, moment, place)
             where a.moment < 'infinity') p
     cross join ehrdb.encoder n
     cross join lateral ehrdb.vectors_at(n.encoder_id, n.prompt_id, p.patient_ids, p.moments) v
     where n.encoder_id = for_encoder_id and p.places is not null;
end;

comment on function ehrdb.paired_vectors(integer, bigint[], timestamp[]) is
'The vectors of records as of moments (parallel lists), under the encoder''s neutral prompt, or the reason why there is none;
infinity: the one that search reads.';
