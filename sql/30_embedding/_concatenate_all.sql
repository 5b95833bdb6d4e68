create or replace function ehrdb.concatenate_all() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    each_encoder_id integer;
begin
    for each_encoder_id in select e.encoder_id from ehrdb.encoder e where e.kind = 'concatenation' loop
        perform ehrdb.concatenate(each_encoder_id);
    end loop;
end
$$;

comment on function ehrdb.concatenate_all() is
'Brings every concatenation up to date with its parts; nothing is computed by a model.';
