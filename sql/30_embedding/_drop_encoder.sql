create or replace function ehrdb.drop_encoder(gone_encoder_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '50ms'
as $$
declare
    patience constant interval := '1 minute';
begin
    delete from ehrdb.embedding_point p where p.encoder_id = gone_encoder_id;
    delete from ehrdb.encoder e where e.encoder_id = gone_encoder_id;
    -- Last, and never in a queue for long: whoever comes to search would wait behind it.
    loop
        begin
            execute format('drop table if exists ehrdb.%I, ehrdb.%I',
                           'embedding_' || gone_encoder_id, 'patient_embedding_' || gone_encoder_id);
            return;
        exception when lock_not_available then
            if clock_timestamp() > now() + patience then
                raise;
            end if;
            perform pg_sleep(0.2);
        end;
    end loop;
end
$$;

comment on function ehrdb.drop_encoder(integer) is
'Removes an encoder with its vectors, heads and jobs. Where searches are long it tries for a minute to come between them,
then gives up, and everything is as before.';
