create or replace function ehrdb.visit_heading(
    text text, starts timestamp, ends timestamp, moment timestamp, is_current boolean
) returns text
language sql stable parallel safe
begin atomic
    select format('%s on [%s](%s) (%s before prediction time%s)', text, day, day,
                  days || case when days = 1 then ' day' else ' days' end,
                  case when is_current then ', current visit'
                       when stay = 1 then ', duration: 1 day'
                       when stay > 1 then ', duration: ' || stay || ' days' else '' end)
      from (select to_char(starts + (timestamp '2024-01-01' - moment), 'YYYY-MM-DD'),
                   extract(day from moment - starts)::integer,
                   extract(day from ends - starts)::integer) as visit (day, days, stay);
end;

comment on function ehrdb.visit_heading(text, timestamp, timestamp, timestamp, boolean) is
'One visit as a heading of the Markdown format: of a current one without its end, of any other with its duration.';
