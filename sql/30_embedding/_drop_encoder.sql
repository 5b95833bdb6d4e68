create or replace function ehrdb.drop_encoder(gone_encoder_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    execute format('drop table if exists ehrdb.%I, ehrdb.%I',
                   'embedding_' || gone_encoder_id, 'patient_embedding_' || gone_encoder_id);
    delete from ehrdb.embedding_point p where p.encoder_id = gone_encoder_id;
    delete from ehrdb.encoder e where e.encoder_id = gone_encoder_id;
end
$$;

comment on function ehrdb.drop_encoder(integer) is
'Removes an encoder with its vectors, heads and jobs.';
