create or replace function ehrdb.line(text text, unit text, numeric_value real, text_value text) returns text
language sql immutable parallel safe
as $$
    select case
        when numeric_value is not null
            then text || coalesce(' (' || unit || ')', '') || ': ' || ehrdb.number_text(numeric_value)
        when text_value is not null then text || ': ' || text_value
        else text
    end
$$;

comment on function ehrdb.line(text, text, real, text) is
'One event as one line: its text, the unit of a number, the value. A text value shows no unit (paper).';
