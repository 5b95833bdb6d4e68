create or replace function ehrdb.line(text text, unit text, numeric_value real, text_value text) returns text
language sql immutable parallel safe
begin atomic
    -- Each argument but the number is used once: so the planner puts the body in place of the call.
    select text || case
        when numeric_value is not null then coalesce(' (' || unit || '): ', ': ') || ehrdb.number_text(numeric_value)
        else coalesce(': ' || text_value, '')
    end;
end;

comment on function ehrdb.line(text, text, real, text) is
'One event as one line: its text, the unit of a number, the value. A text value shows no unit (paper). Null
where the text is: such an event is not shown.';
