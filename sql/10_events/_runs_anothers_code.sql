create or replace function ehrdb.runs_anothers_code(source regclass, is_written boolean default false) returns boolean
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with recursive part (oid) as (
        select source::oid
        union
        select i.inhrelid from part p join pg_inherits i on i.inhparent = p.oid
    )
    -- Views, policies, casts of a type of one's own, and what the planner computes beforehand of indexes, constraints and
    -- statistics; on writing, triggers and the like. All of it may take any role that the session may take: so who asks,
    -- and under which role, does not matter, but for the login itself.
    select exists (
        select from part
          join pg_class c using (oid)
         cross join pg_namespace n
         where n.nspname = 'ehrdb' and not pg_has_role(c.relowner, n.nspowner, 'member') and c.relowner <> session_user::regrole
           and (c.relkind not in ('r', 'p', 'm') or c.relrowsecurity
                or exists (select from pg_attribute a join pg_type t on t.oid = a.atttypid
                            where a.attrelid = c.oid and not a.attisdropped and t.typnamespace <> 'pg_catalog'::regnamespace)
                or exists (select from pg_index i where i.indrelid = c.oid and coalesce(i.indexprs, i.indpred) is not null)
                or exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'c')
                or exists (select from pg_statistic_ext s where s.stxrelid = c.oid and s.stxexprs is not null)
                or exists (select from pg_partitioned_table t where t.partrelid = c.oid and t.partexprs is not null)
                or (is_written and (c.relhasrules
                                    or exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)
                                    or exists (select from pg_attrdef d where d.adrelid = c.oid)))));
end;

comment on function ehrdb.runs_anothers_code(regclass, boolean) is
'Whether reading this (or writing it) runs what somebody wrote who has neither the rights of ehrdb''s owner nor is who logged in: of
a table, its partitions and children, only plain columns of PostgreSQL''s own types are sure not to.';
