create or replace function ehrdb.withdraw_request(request_id bigint) returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
begin atomic
    delete from ehrdb.search_request r where r.request_id = withdraw_request.request_id;
end;

comment on function ehrdb.withdraw_request(bigint) is 'Removes a question that nobody waits for any more.';
