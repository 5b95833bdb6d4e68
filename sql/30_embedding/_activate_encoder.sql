create or replace function ehrdb.activate_encoder(next_encoder_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- Two statements, one transaction: the unique index allows no moment with two serving encoders.
    update ehrdb.encoder e set is_serving = false where e.is_serving and e.encoder_id <> next_encoder_id;
    update ehrdb.encoder e set is_serving = true where e.encoder_id = next_encoder_id and not e.is_serving;
end
$$;

comment on function ehrdb.activate_encoder(integer) is
'Makes this encoder the serving one; other sessions see the old one until this transaction commits.';
