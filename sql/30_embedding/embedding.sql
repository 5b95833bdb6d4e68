create or replace function ehr.embedding(
    patient_id bigint, as_of timestamp default 'infinity', encoder text default null
) returns public.vector
language plpgsql stable parallel safe
set search_path = pg_catalog, public, pg_temp
as $$
declare
    found vector;
begin
    select e.embedding::vector into found
      from ehrdb.encoder n
      join ehrdb.embedding_point p on p.encoder_id = n.encoder_id and p.prompt_id = n.prompt_id
      join ehrdb.embedding e on e.encoder_id = p.encoder_id and e.content_sha256 = p.content_sha256
     where n.encoder_id = ehrdb.encoder_id(embedding.encoder)
       and p.patient_id = embedding.patient_id
       and p.as_of <= embedding.as_of
     order by p.as_of desc
     limit 1;
    if found is null then
        perform ehrdb.raise_no_embedding(patient_id, as_of);
    end if;
    return found;
end
$$;

comment on function ehr.embedding(bigint, timestamp, text) is
'The patient''s newest embedding at or before as_of, under the encoder''s neutral prompt; a unit vector where
the encoder normalizes. EH001: unknown patient; EH003: unknown encoder; EH004: nothing embedded by then.
Example: select ehr.embedding(1, ''2020-01-01'');';
