-- name: columns_of_raw
-- columns that a copied table has
select attname::text from pg_attribute
 where attrelid = to_regclass('pg_temp.raw_' || %(table)s) and attnum > 0 and not attisdropped order by attnum;

-- name: name_files
-- say which file of a table a problem is in, and which row there
update pg_temp.load_problem
   set file = (%(files)s::text[])[row / %(rows_per_part)s + 1], row = row %% %(rows_per_part)s
 where source_table = %(table)s;
