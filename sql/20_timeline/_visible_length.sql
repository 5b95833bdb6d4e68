create or replace function ehrdb.visible_length(text text, max_chars integer) returns integer
language sql immutable parallel safe
begin atomic
    -- Lines are whole: the first line break at or after max_chars ends the text.
    select case when break > 0 then max_chars - 2 + break else length(text) end
      from (select strpos(substr(text, max_chars), E'\n')) as first (break);
end;

comment on function ehrdb.visible_length(text, integer) is
'How many characters of a text its lines have that begin within max_chars characters (null: all).';
