create or replace function ehrdb.say_to_worker(query text, encoder text, deadline timestamptz) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    asked constant uuid := gen_random_uuid();
    words constant bytea := convert_to(query, 'UTF8');
    -- What ehrdb.hear_question reads: who asks, of which encoder, how many bytes, the request, the text.
    said constant bytea := int4send(pg_backend_pid()) || oidsend(session_user::regrole::oid)
                           || int4send(ehrdb.require_question(query, encoder)) || int4send(octet_length(words))
                           || uuid_send(asked) || words;
    parts constant integer := (octet_length(said) + 63) / 64;
    heard_by timestamptz;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted')
       or current_setting('transaction_read_only')::boolean then
        raise exception using errcode = 'EH010',
            message = 'this transaction can be told nothing new: it is read-only, or looks at one moment for ever',
            hint = 'begin isolation level read committed read write; or call ehr.search_text(...) outside a transaction.';
    end if;
    -- Speaking ends by an error of its own, which gives the speaker's turn back; what sequences say stays said.
    begin
        loop
            perform from ehrdb.turn t where t.what = 'speaker' for update skip locked;
            exit when found;
            perform ehrdb.require_time(deadline);
        end loop;
        for part in 1..parts loop
            -- Whoever speaks keeps all others waiting: a worker that does not listen for so long has gone.
            heard_by := least(deadline, clock_timestamp() + interval '10 seconds');
            perform ehrdb.say(substring(said from part * 64 - 63 for 64));
            perform setval('ehrdb.speech_turn', 2 * part - 1);
            while (select s.last_value from ehrdb.speech_turn s) <> 2 * part loop
                perform ehrdb.require_time(heard_by);
            end loop;
        end loop;
        raise exception using errcode = 'EH099';  -- one that ended with 000 would stand for all of EH
    exception when sqlstate 'EH099' then
        return asked;
    end;
end
$$;

comment on function ehrdb.say_to_worker(text, text, timestamptz) is
'Tells a worker a text to embed from inside a transaction: nothing is committed for it. Returns the request, a random
one that only the asker can redeem. EH008: no worker, or none that listens in time; EH010: the text is empty or too long.';
