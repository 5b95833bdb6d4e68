create or replace function ehrdb.encoder_id(encoder text) returns integer
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    found integer;
begin
    select e.encoder_id into found
      from ehrdb.encoder e
     where case when encoder_id.encoder is null then e.is_serving else e.name = encoder_id.encoder end;
    if found is null and encoder is null then
        raise exception using errcode = 'EH003', message = 'no encoder is serving',
            hint = 'Run `ehrdb encoder export` and `ehrdb encoder activate NAME`.';
    elsif found is null then
        raise exception using errcode = 'EH003', message = format('unknown encoder %L', encoder),
            hint = 'See: select name from ehr.encoder;';
    end if;
    return found;
end
$$;

comment on function ehrdb.encoder_id(text) is
'Key of the encoder of that name; null asks for the serving one. EH003 where there is none.';
