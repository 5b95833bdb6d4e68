-- Each row of a map is found by its key, whoever writes it.
create or replace function ehrdb.set_map_key() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.key := ehrdb.map_key(new.code);
    return new;
end
$$;

create or replace trigger set_key before insert or update on ehrdb.code_map
    for each row execute function ehrdb.set_map_key();

update ehrdb.code_map m set key = m.key where m.key <> ehrdb.map_key(m.code);  -- the rule may be new
