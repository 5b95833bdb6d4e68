create or replace function ehrdb.withdraw_request(request_id uuid) returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    delete from ehrdb.search_request r where r.request_id = withdraw_request.request_id and r.asked_by = session_user;
end;

comment on function ehrdb.withdraw_request(uuid) is 'Removes a question of one''s own that one waits for no more.';
