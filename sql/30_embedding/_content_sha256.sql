create or replace function ehrdb.content_sha256(prompt text, text text) returns bytea
language sql immutable parallel safe strict
set search_path = pg_catalog, pg_temp
return sha256(convert_to(prompt || chr(31) || text, 'UTF8'));

comment on function ehrdb.content_sha256(text, text) is
'Identity of what an encoder sees: sha-256 of prompt, unit separator and text in UTF-8.';
