create or replace function ehrdb.store_count_weights(for_head_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- An event without a value counts for its code and all above it, whoever has it.
    insert into ehrdb.head_count (head_id, code_id, feature, text, low, high, weights)
    with recursive above (code_id, ancestor_id) as (
        select u.code_id, u.code_id
          from (select f.code_id from ehrdb.concept_frequency f
                union
                select c.code_id from pg_temp.count_weight w join ehrdb.concept c on c.code = w.code) u
        union
        select a.code_id, p.parent_id from above a join ehrdb.concept_parent p on p.child_id = a.ancestor_id
    )
    select for_head_id, a.code_id, w.feature, w.text, w.low, w.high, w.weights
      from pg_temp.count_weight w
      join ehrdb.concept c on c.code = w.code
      join above a on a.ancestor_id = c.code_id and (a.code_id = c.code_id or w.text is null and w.low is null);
    drop table pg_temp.count_weight;
end
$$;

comment on function ehrdb.store_count_weights(integer) is
'Keeps a head''s weights of counts, which the caller put in the temporary table count_weight (feature, code, text, low, high,
weights by age bin). A code that comes later counts from the next training on.';
