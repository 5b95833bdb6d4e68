create or replace function ehrdb.say(part bytea) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    select setval(format('ehrdb.speech_%s', n)::regclass,
                  ('x' || rpad(encode(substring($1 from 8 * n - 7 for 8), 'hex'), 16, '0'))::bit(64)::bigint)
      from generate_series(1, 8) n
$$;

comment on function ehrdb.say(bytea) is 'Puts up to 64 bytes where the worker hears them, whatever becomes of the transaction.';
