create or replace function ehrdb.first_ids(ids bigint[]) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    -- Not ids[:100]: an array may begin anywhere, and have rows.
    select case when ids is null then '-'
                else array(select i from unnest(ids) i limit 100)::text
                     || case when cardinality(ids) > 100 then '+' || cardinality(ids) - 100 else '' end
           end;
end;

comment on function ehrdb.first_ids(bigint[]) is 'The first 100, then how many more there are: {1,2,...}+20; "-" for null.';
