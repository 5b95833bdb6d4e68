create or replace function ehrdb.related_concepts(codes_a integer[], codes_b integer[])
returns table (ancestor_id integer, code_id_a integer, code_id_b integer)
language sql stable parallel safe rows 100
set search_path = pg_catalog, pg_temp
begin atomic
    with listed (is_a, code_id) as (
        select true, c from unnest(codes_a) c
        union all
        select false, c from unnest(codes_b) c
    ), parent as materialized (
        select l.is_a, l.code_id, p.parent_id as ancestor_id
          from listed l
          join ehrdb.concept_parent p on p.child_id = l.code_id
    ), up (is_a, code_id, ancestor_id, depth) as (
        select l.is_a, l.code_id, l.code_id, 0 from listed l
        union all
        select n.is_a, n.code_id, n.ancestor_id, 1 from parent n
        union all
        select n.is_a, n.code_id, p.parent_id, 2
          from parent n
          join ehrdb.concept_parent p on p.child_id = n.ancestor_id
    ), under as (
        select distinct on (u.is_a, u.ancestor_id) u.* from up u order by u.is_a, u.ancestor_id, u.depth, u.code_id
    ), met as (
        select a.ancestor_id, a.code_id as code_id_a, b.code_id as code_id_b, a.depth + b.depth as distance
          from under a
          join under b using (ancestor_id)
         where a.is_a and not b.is_a
    ), closest as (
        select distinct on (m.code_id_a) m.* from met m order by m.code_id_a, m.distance, m.ancestor_id, m.code_id_b
    )
    select distinct on (c.code_id_b) c.ancestor_id, c.code_id_a, c.code_id_b
      from closest c
     order by c.code_id_b, c.distance, c.ancestor_id, c.code_id_a;
end;

comment on function ehrdb.related_concepts(integer[], integer[]) is
'Pairs of concepts, one of each list, with a common ancestor at most two levels above: one pair an ancestor, each
concept once, with its closest.';
