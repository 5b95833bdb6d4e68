create or replace function ehrdb.query_vector(for_encoder_id integer, query public.vector) returns public.halfvec
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    dimension constant integer := (select e.dimension from ehrdb.encoder e where e.encoder_id = for_encoder_id);
    length constant float8 := public.vector_norm(query);
begin
    if query is null or length = 0 then
        raise exception using errcode = 'EH010', message = 'the vector points nowhere: it is null or all zeros',
            hint = 'Take one of this encoder''s: ehr.embedding(1), ehr.centroid(array[1, 2]).';
    elsif public.vector_dims(query) <> dimension then
        raise exception using errcode = 'EH010',
            message = format('the vector has %s dimensions, the encoder %s', public.vector_dims(query), dimension),
            hint = 'Compare vectors of one encoder alone; name it with encoder => ''...''.';
    end if;
    -- Half precision ends at 65,504; the length of a vector says nothing here.
    return (case when length > 60000 or length < 1e-3 then public.l2_normalize(query) else query end)::public.halfvec;
end
$$;

comment on function ehrdb.query_vector(integer, public.vector) is
'A vector to search by, in half precision. EH010: null, zero, or of other dimensions than the encoder''s.';
