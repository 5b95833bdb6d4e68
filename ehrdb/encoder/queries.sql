-- register: a new encoder and its partitions; the first one serves
with added as (
    insert into ehrdb.encoder (name, digest, dimension, max_tokens, pooling, precision, format, format_version,
                               prompt_id, manifest, is_serving)
    values (%(name)s, %(digest)s, %(dimension)s, %(max_tokens)s, %(pooling)s, %(precision)s, %(format)s,
            (select version from ehr.format where name = %(format)s),
            %(prompt_id)s, %(manifest)s, not exists (select from ehrdb.encoder))
    returning encoder_id, dimension
)
select ehrdb.create_partitions(encoder_id, dimension) from added;

-- find: the encoder of that name, or the serving one where no name is given
select encoder_id, name, digest, dimension, format, prompt_id, is_serving
  from ehrdb.encoder
 where case when %(name)s::text is null then is_serving else name = %(name)s end;

-- list_encoders: all of them, oldest first
select encoder_id, name, digest, dimension, format, prompt_id, is_serving
  from ehrdb.encoder order by encoder_id;

-- activate: one encoder serves, the others do not
select ehrdb.activate_encoder(%(encoder_id)s);

-- drop: an encoder with its vectors, heads and jobs
select ehrdb.drop_encoder(%(encoder_id)s);

-- prompt_id: key of a prompt, remembered on first use
with added as (
    insert into ehrdb.prompt (prompt) values (%(prompt)s) on conflict do nothing returning prompt_id
)
select prompt_id from added
union all
select prompt_id from ehrdb.prompt where prompt = %(prompt)s
limit 1;

-- sample_texts: timelines of 32 patients picked by hash, to compare an export with its original
select c.text
  from ehr.current_timelines(%(format)s, array(
           select patient_id from ehrdb.patient order by sha256(patient_id::text::bytea) limit 32)) c
 where c.text <> ''
 order by c.patient_id;
