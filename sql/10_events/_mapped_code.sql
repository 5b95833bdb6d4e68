create or replace view ehrdb.mapped_code with (security_invoker = true) as
with begun as materialized (
    select distinct length(m.key) - 1 as length from ehrdb.code_map m where right(m.key, 1) = '*'
)
select c.code_id, m.map, m.standard_code, m.description, m.standard_description
  from ehrdb.concept c
 cross join lateral (
       select m.*, rank() over (partition by m.map order by right(m.key, 1) = '*', length(m.key) desc) as place
         from (select ehrdb.map_key(c.code) as key offset 0) k
        cross join lateral (select k.key union select left(k.key, b.length) || '*' from begun b) name
         join ehrdb.code_map m on m.key = name.key) m
 where m.place = 1;

comment on view ehrdb.mapped_code is
'What each code stands for: of every map the rows that fit most closely, the code itself before the longest beginning.
The one place where a map is read: its standard codes become parents in ehrdb.concept_parent (ehrdb.apply_code_map), which
tasks, categories, explanations and measured concepts follow.';
