-- name: register
-- a new encoder and its partitions; it serves where none does
with added as (
    insert into ehrdb.encoder (name, digest, dimension, max_tokens, pooling, precision, format, format_version,
                               prompt_id, manifest, is_serving)
    values (%(name)s, %(digest)s, %(dimension)s, %(max_tokens)s, %(pooling)s, %(precision)s, %(format)s,
            (select version from ehr.format where name = %(format)s),
            %(prompt_id)s, %(manifest)s, not exists (select from ehrdb.encoder where is_serving))
    returning encoder_id, dimension
)
select ehrdb.create_partitions(encoder_id, dimension) from added;

-- name: register_import
-- an encoder whose vectors come from outside, and its partitions; it serves where it may and none does
with added as (
    insert into ehrdb.encoder (name, kind, digest, dimension, prompt_id, manifest, is_serving)
    values (%(name)s, 'import', %(digest)s, %(dimension)s, %(prompt_id)s, %(manifest)s,
            %(may_serve)s and not exists (select from ehrdb.encoder where is_serving))
    returning encoder_id, dimension
)
select ehrdb.create_partitions(encoder_id, dimension) from added;

-- name: register_reader
-- the model of another encoder on texts of a format, the empty ones too; one that is there already and left them out
-- compares everybody once more. Returns its name.
with base as (
    select b.*, (f.format).version as version
      from ehrdb.encoder b, ehrdb.parse_format(%(format)s) f
     where b.encoder_id = %(encoder_id)s
), known as (
    select e.encoder_id, e.name
      from base join ehrdb.encoder e
        on (e.digest, e.format, e.format_version) = (base.digest, %(format)s, base.version)
), changed as (
    update ehrdb.encoder e set embeds_empty = true
      from known
     where e.encoder_id = known.encoder_id and not e.embeds_empty
    returning e.encoder_id
), again as (
    delete from ehrdb.plan_progress g using changed where g.encoder_id = changed.encoder_id
), asked as (
    insert into ehrdb.prompt (prompt)
    select %(prompt)s from base where (base.manifest ->> 'prompt_template')::boolean
        on conflict (prompt) do update set prompt = excluded.prompt
    returning prompt_id
), added as (
    insert into ehrdb.encoder (name, digest, dimension, max_tokens, pooling, precision, format, format_version,
                               prompt_id, manifest, embeds_empty)
    select %(name)s, b.digest, b.dimension, b.max_tokens, b.pooling, b.precision, %(format)s, b.version,
           coalesce((select a.prompt_id from asked a), b.prompt_id), b.manifest, true
      from base b
     where not exists (select from known)
    returning encoder_id, name, dimension
)
select known.name, null from known
union all
select added.name, ehrdb.create_partitions(added.encoder_id, added.dimension)::text from added;

-- name: register_concatenation
-- several encoders side by side; format and neutral prompt are those of the first part with prompts, or of the first. A
-- part that reads one category stands for its format's whole.
with part as (
    select p.*, coalesce((p.manifest ->> 'prompt_template')::boolean, false) as has_prompts, i.position, i.part_name
      from unnest(%(part_ids)s::integer[], %(part_names)s::text[]) with ordinality as i (encoder_id, part_name, position)
      join ehrdb.encoder p using (encoder_id)
), reader as (
    select * from part order by has_prompts desc, position limit 1
), added as (
    insert into ehrdb.encoder (name, kind, digest, dimension, format, format_version, prompt_id, manifest)
    select %(name)s, 'concatenation', %(digest)s, (select sum(dimension) from part),
           case when reader.embeds_empty then regexp_replace(reader.format, '(_only_[a-z]+)+$', '') else reader.format end,
           reader.format_version, reader.prompt_id,
           jsonb_build_object('prompt_template', reader.has_prompts,
                              'parts', (select jsonb_agg(digest order by position) from part))
      from reader
    returning encoder_id, dimension
), placed as (
    insert into ehrdb.encoder_part (encoder_id, place, name, part_id)
    select added.encoder_id, part.position, part.part_name, part.encoder_id from added, part
)
select ehrdb.create_partitions(encoder_id, dimension) from added;

-- name: concatenate
-- bring a concatenation up to date with its parts
select ehrdb.concatenate(%(encoder_id)s);

-- name: models
-- the encoders to run for this one: itself, or the parts of a concatenation, where they are models
select encoder_id, name, kind, digest, dimension, coalesce(format, ''), prompt_id, is_serving,
       coalesce(manifest ->> 'name', name)
  from ehrdb.encoder p
 where p.kind = 'model'
   and exists (select from ehrdb.encoder e
                where e.encoder_id = %(encoder_id)s
                  and (p.encoder_id = e.encoder_id
                       or exists (select from ehrdb.encoder_part t
                                   where t.encoder_id = e.encoder_id and t.part_id = p.encoder_id)))
 order by p.encoder_id;

-- name: used_by
-- a concatenation that needs this encoder
select e.name from ehrdb.encoder_part t join ehrdb.encoder e using (encoder_id)
 where t.part_id = %(encoder_id)s order by e.name limit 1;

-- name: prompt_forms
-- how many kinds of text the prompts of encoders speak of
select count(distinct prompt_id)
  from ehrdb.encoder
 where encoder_id = any (%(part_ids)s) and (manifest ->> 'prompt_template')::boolean;

-- name: imported_table
-- where imported vectors land
create temp table imported on commit drop as
select patient_id, as_of, embedding, null::bigint as row from ehrdb.patient_embedding limit 0;

-- name: copy_imported
-- the rows of a file, in binary
copy pg_temp.imported from stdin (format binary);

-- name: unknown_patient
-- the first imported row of a patient who is not here, and how many rows are such
select min(v.row), (array_agg(v.patient_id order by v.row))[1], count(*)
  from pg_temp.imported v
 where not exists (select from ehrdb.patient p where p.patient_id = v.patient_id);

-- name: import_vectors
-- take them; returns how many are new or changed
select ehrdb.import_vectors(%(encoder_id)s);

-- name: find
-- the encoder of that name, or the serving one where no name is given
select encoder_id, name, kind, digest, dimension, coalesce(format, ''), prompt_id, is_serving,
       coalesce(manifest ->> 'name', name)
  from ehrdb.encoder
 where case when %(name)s::text is null then is_serving else name = %(name)s end;

-- name: list_encoders
-- all of them, oldest first
select encoder_id, name, kind, digest, dimension, coalesce(format, ''), prompt_id, is_serving,
       coalesce(manifest ->> 'name', name)
  from ehrdb.encoder order by encoder_id;

-- name: activate
-- one encoder serves, the others do not
select ehrdb.activate_encoder(%(encoder_id)s);

-- name: without_heads
-- tasks that others' vectors have heads for and this encoder's have not
select distinct h.task
  from ehrdb.head h
 where not exists (select from ehrdb.head o where o.target = h.target and o.encoder_id = %(encoder_id)s)
 order by h.task;

-- name: holdings
-- what goes with an encoder: patients with a vector, heads
select (select count(*) from ehrdb.patient_embedding p where p.encoder_id = %(encoder_id)s),
       (select count(*) from ehrdb.head h where h.encoder_id = %(encoder_id)s);

-- name: drop
-- an encoder with its vectors, heads and jobs
select ehrdb.drop_encoder(%(encoder_id)s);

-- name: prompt_id
-- key of a prompt, remembered on first use
with added as (
    insert into ehrdb.prompt (prompt) values (%(prompt)s) on conflict do nothing returning prompt_id
)
select prompt_id from added
union all
select prompt_id from ehrdb.prompt where prompt = %(prompt)s
limit 1;

-- name: sample_texts
-- timelines of 32 patients picked by hash, to compare an export with its original
select c.text
  from ehr.current_timelines(%(format)s, array(
           select patient_id from ehrdb.patient order by sha256(patient_id::text::bytea) limit 32)) c
 where c.text <> ''
 order by c.patient_id;
