create or replace function ehr.embedding(
    patient_id bigint, as_of timestamp default 'infinity', encoder text default null
) returns public.vector
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    for_encoder_id constant integer := ehrdb.encoder_id(encoder);
    found public.vector;
begin
    perform ehrdb.is_moment(as_of);
    select e.embedding::public.vector into found
      from ehrdb.encoder n,
           ehrdb.newest_vector(for_encoder_id, n.prompt_id, embedding.as_of) e
     where n.encoder_id = for_encoder_id and e.patient_id = embedding.patient_id;
    if found is null then
        perform ehrdb.raise_no_embedding(patient_id, as_of);
    end if;
    return found;
end
$$;

comment on function ehr.embedding(bigint, timestamp, text) is
'The patient''s newest embedding at or before as_of.
Under the encoder''s neutral prompt; a unit vector where the encoder normalizes. EH001: unknown patient; EH003:
unknown encoder; EH004: nothing embedded by then.
Example: select ehr.embedding(1, ''2020-01-01'');';
