create or replace function ehrdb.keep_question(heard bytea) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    pid constant integer := ('x' || encode(substring(heard from 1 for 4), 'hex'))::bit(32)::integer;
    asker constant oid := ('x' || encode(substring(heard from 5 for 4), 'hex'))::bit(32)::bigint::oid;
    asked_by constant name := (select r.rolname from pg_roles r where r.oid = asker);
begin
    if asked_by is null then
        return;  -- dropped meanwhile
    end if;
    insert into ehrdb.search_request (request_id, encoder_id, asked_by, asker_pid, query)
    select encode(substring(heard from 17 for 16), 'hex')::uuid, e.encoder_id, asked_by, pid,
           convert_from(substring(heard from 33 for ('x' || encode(substring(heard from 13 for 4), 'hex'))::bit(32)::integer), 'UTF8')
      from ehrdb.encoder e
     where e.encoder_id = ('x' || encode(substring(heard from 9 for 4), 'hex'))::bit(32)::integer;
    perform ehrdb.record('ehr.nearest_to_text by ' || asked_by);
end
$$;

comment on function ehrdb.keep_question(bytea) is
'Leaves what was heard among the questions, and a note in the audit that stays whatever becomes of the asker''s transaction.';
