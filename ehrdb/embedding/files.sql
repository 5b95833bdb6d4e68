-- name: unhurried
-- gigabytes take what they take
set local statement_timeout = 0;

-- name: published
-- the manifest of an encoder whose files are here, its own or those of another with the same model, and whose they are
select e.manifest, o.encoder_id
  from ehrdb.encoder e
  join ehrdb.encoder o on o.digest = e.digest
 where e.encoder_id = %(encoder_id)s
   and exists (select from ehrdb.encoder_file f where f.encoder_id = o.encoder_id)
 order by o.encoder_id <> e.encoder_id, o.encoder_id
 limit 1;

-- name: remove
-- its files, before others take their place
delete from ehrdb.encoder_file where encoder_id = %(encoder_id)s;

-- name: copy_in
-- its files, in parts
copy ehrdb.encoder_file (encoder_id, name, part, content) from stdin (format binary);

-- name: copy_out
-- one file's parts in their order
copy (select content from ehrdb.encoder_file
       where encoder_id = %(encoder_id)s and name = %(name)s
       order by part) to stdout (format binary);
