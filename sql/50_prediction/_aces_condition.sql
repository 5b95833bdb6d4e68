create or replace function ehrdb.aces_condition(predicate jsonb) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    -- Thresholds are compared as what values are kept in. Columns that MEDS does not name are in `extra`.
    select concat_ws(' and ', predicate ->> 'column',
               'e.numeric_value > ' || quote_literal(predicate ->> 'above') || '::real',
               'e.numeric_value >= ' || quote_literal(predicate ->> 'at_least') || '::real',
               'e.numeric_value < ' || quote_literal(predicate ->> 'below') || '::real',
               'e.numeric_value <= ' || quote_literal(predicate ->> 'at_most') || '::real',
               (select string_agg(
                           case c.key when 'unit' then format('u.unit = %L', c.value #>> '{}')
                                      when 'text_value' then format('e.text_value = %L', c.value #>> '{}')
                                      else format('e.extra -> %L = %L::jsonb', c.key, c.value) end, ' and ')
                  from jsonb_each(predicate -> 'columns') c));
end;

comment on function ehrdb.aces_condition(jsonb) is
'What an event e (its code c, its unit u) must fulfil to count for a predicate of ACES, as SQL; `column` of the
predicate says whether its code fits.';
