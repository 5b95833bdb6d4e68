create or replace function ehr.embedding(
    patient_id bigint, as_of timestamp default 'infinity', encoder text default null
) returns public.vector
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    is_noted constant boolean := ehrdb.note('embedding', array[$1]);
    for_encoder_id constant integer := ehrdb.encoder_id(encoder);
    found record;
begin
    perform ehrdb.is_moment(as_of);
    select e.embedding::public.vector as embedding, e.reason into found
      from ehrdb.encoder n,
           ehrdb.vectors_at(for_encoder_id, n.prompt_id, array[embedding.patient_id], array[embedding.as_of]) e
     where n.encoder_id = for_encoder_id;
    if found.embedding is null then
        perform ehrdb.raise_no_embedding(patient_id, as_of, found.reason);
    end if;
    return found.embedding;
end
$$;

comment on function ehr.embedding(bigint, timestamp, text) is
'The embedding of the patient''s record as of a moment; where none is given, the newest.
A past moment is answered from a vector of the text as of then alone: no event lies between. Under the encoder''s neutral
prompt; a unit vector where the encoder normalizes. EH001: unknown patient; EH003: unknown encoder; EH004: not embedded as
of then, with the command that does it.
Example: select ehr.embedding(1, ''2020-01-01'');';
