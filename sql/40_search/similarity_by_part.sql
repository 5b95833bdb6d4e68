create or replace function ehr.similarity_by_part(
    patient_a bigint, patient_b bigint, as_of timestamp default 'infinity', encoder text default null,
    weights jsonb default null
) returns table (part text, weight float8, similarity float8, contribution float8)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    is_noted constant boolean := ehrdb.note('similarity_by_part', array[$1, $2]);
    for_encoder_id constant integer := ehrdb.encoder_id(encoder);
    in_a constant public.vector := ehr.embedding(patient_a, as_of, encoder);
    in_b constant public.vector := ehr.embedding(patient_b, as_of, encoder);
    unknown text;
begin
    select w.key into unknown
      from jsonb_each(case jsonb_typeof(weights) when 'object' then weights else '{}' end) w
     where not exists (select from ehrdb.encoder_part t where t.encoder_id = for_encoder_id and t.name = w.key)
        or case jsonb_typeof(w.value) when 'number' then (w.value #>> '{}')::numeric not between 0 and 1e6 else true end;
    if found or jsonb_typeof(weights) <> 'object' then
        raise exception using errcode = 'EH010',
            message = coalesce(format('no part and weight of the encoder: %s', quote_literal(unknown)), 'weights are no JSON object'),
            hint = coalesce('Weights are an object of numbers from 0 to a million by part; parts: ' || (
                       select string_agg(t.name, ', ' order by t.place) from ehrdb.encoder_part t where t.encoder_id = for_encoder_id),
                       'The encoder is no concatenation: leave weights out.');
    end if;
    return query
    with part as (
        select t.place, t.name, n.dimension, sum(n.dimension) over (order by t.place) - n.dimension as before
          from ehrdb.encoder_part t join ehrdb.encoder n on n.encoder_id = t.part_id
         where t.encoder_id = for_encoder_id
        union all
        select 1, n.name, n.dimension, 0
          from ehrdb.encoder n
         where n.encoder_id = for_encoder_id and n.kind <> 'concatenation'
    ), product as (
        select p.place, p.name, coalesce((weights ->> p.name)::float8, 1) as weight,
               public.inner_product(s.a, s.b) as ab, public.inner_product(s.a, s.a) as aa, public.inner_product(s.b, s.b) as bb
          from part p
         cross join lateral (
            select public.subvector(in_a, p.before::integer + 1, p.dimension) as a,
                   public.subvector(in_b, p.before::integer + 1, p.dimension) as b) s
    )
    select p.name, p.weight, p.ab / nullif(sqrt(p.aa * p.bb), 0),
           p.weight * p.ab / nullif(sqrt(sum(p.weight * p.aa) over () * sum(p.weight * p.bb) over ()), 0)
      from product p
     order by p.place;
end
$$;

comment on function ehr.similarity_by_part(bigint, bigint, timestamp, text, jsonb) is
'How alike two patients are in each part of a concatenation, such as labs or medications.
similarity: the cosine of the parts, null where either has nothing of it; contribution: what the part adds to the weighted
similarity, which is the sum of all. weights: by part, 1 unless given, as JSON. Of any other encoder one row. EH001, EH003, EH004 as
of ehr.embedding; EH010: a weight of no part, or not from 0 to a million.
Example: select * from ehr.similarity_by_part(1, 2, encoder => ''meme'');';
