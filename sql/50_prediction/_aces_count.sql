create or replace function ehrdb.aces_count(node jsonb, times text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select format('width_bucket(%s.t%s, %s) - width_bucket(%s.t%s, %3$s)',
                  node ->> 'high', case when not (node -> 'includes_high')::boolean then ' - interval ''1 microsecond''' end,
                  times,
                  node ->> 'low', case when (node -> 'includes_low')::boolean then ' - interval ''1 microsecond''' end);
end;

comment on function ehrdb.aces_count(jsonb, text) is
'How many of a sorted array of times lie in the stretch of a node of ACES, as SQL.';
