create or replace function ehrdb.exact_search_bound() returns integer
language sql immutable parallel safe
return 20000;

comment on function ehrdb.exact_search_bound() is
'Among up to so many vectors comparing all of them is as fast as an index, and exact: no index is built or asked.';
