create or replace function ehrdb.heard() returns bytea
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    part constant bytea := (
        select int8send(s1.last_value) || int8send(s2.last_value) || int8send(s3.last_value) || int8send(s4.last_value)
               || int8send(s5.last_value) || int8send(s6.last_value) || int8send(s7.last_value) || int8send(s8.last_value)
          from ehrdb.speech_1 s1, ehrdb.speech_2 s2, ehrdb.speech_3 s3, ehrdb.speech_4 s4,
               ehrdb.speech_5 s5, ehrdb.speech_6 s6, ehrdb.speech_7 s7, ehrdb.speech_8 s8);
begin
    perform ehrdb.say('');
    return part;
end
$$;

comment on function ehrdb.heard() is 'The 64 bytes that were said, which are wiped.';
