create or replace function ehrdb.hear_question() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    head_bytes constant integer := 32;
    turn bigint := (select s.last_value from ehrdb.speech_turn s);
    next_turn bigint := 1;
    heard bytea := '';
    expected integer := head_bytes;
    last_word timestamptz := clock_timestamp();
begin
    if turn <> 1 then
        return false;  -- nobody has begun to speak
    end if;
    perform from ehrdb.turn t where t.what = 'listener' for update skip locked;
    if not found then
        return false;  -- another worker listens
    end if;
    while octet_length(heard) < expected loop
        turn := (select s.last_value from ehrdb.speech_turn s);
        if turn = next_turn then
            heard := heard || ehrdb.heard();
            expected := head_bytes + ('x' || encode(substring(heard from 13 for 4), 'hex'))::bit(32)::integer;
            perform setval('ehrdb.speech_turn', turn + 1);
            next_turn := turn + 2;
            last_word := clock_timestamp();
        elsif clock_timestamp() > last_word + interval '2 seconds' or turn = 1 then
            return false;  -- who spoke is gone, or another has begun
        else
            perform pg_sleep(0.001);
        end if;
    end loop;
    perform ehrdb.keep_question(heard);
    return true;
end
$$;

comment on function ehrdb.hear_question() is
'For the worker: takes what a session says in ehrdb.say_to_worker, and leaves it among the questions. False: nobody speaks.';
