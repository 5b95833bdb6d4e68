-- name: undescribed
-- units to look up, as UCUM where a synonym is known
select u.unit_id, coalesce(s.ucum, btrim(u.unit))
  from ehrdb.unit u
  left join ehrdb.unit_synonym s on s.unit = lower(btrim(u.unit))
 where u.dimension is null or (u.dimension = '' and s.ucum is not null);

-- name: synonyms
-- other spellings of units
select unit, ucum from ehrdb.unit_synonym;

-- name: describe
-- what they measure
update ehrdb.unit u set dimension = d.dimension, factor = d.factor, shift = d.shift
  from unnest(%(unit_ids)s::integer[], %(dimensions)s::text[], %(factors)s::float8[], %(shifts)s::float8[])
       as d (unit_id, dimension, factor, shift)
 where u.unit_id = d.unit_id;
