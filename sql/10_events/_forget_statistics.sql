create or replace function ehrdb.forget_statistics() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    sampled record;
    kept record;
    is_empty boolean;
begin
    for sampled in
        select c.oid::regclass as relation, n.nspname, c.relname
          from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'ehrdb' and c.relkind in ('r', 'p') and pg_has_role(c.relowner, 'usage')
         order by c.oid
    loop
        execute format('analyze %s', sampled.relation);
        execute format('select not exists (select from %s)', sampled.relation) into is_empty;
        -- Of an empty table the server keeps what it knew; it can be told to forget since PostgreSQL 18.
        if is_empty and current_setting('server_version_num')::integer >= 180000 then
            for kept in
                select s.attname, s.inherited from pg_stats s
                 where s.schemaname = sampled.nspname and s.tablename = sampled.relname
            loop
                execute 'select pg_clear_attribute_stats($1, $2, $3, $4)'
                  using sampled.nspname::text, sampled.relname::text, kept.attname::text, kept.inherited;
            end loop;
        end if;
    end loop;
end
$$;

comment on function ehrdb.forget_statistics() is
'Makes the server''s statistics of what holds patients anew: they quote ids, values and words of rows that are gone.';
