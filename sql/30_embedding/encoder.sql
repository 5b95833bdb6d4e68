create or replace view ehr.encoder with (security_invoker = true) as
select e.name, e.is_serving, e.dimension, e.max_tokens, e.pooling, e.precision, e.format, e.format_version,
       p.prompt, e.digest, e.manifest, e.created_at
  from ehrdb.encoder e
  join ehrdb.prompt p using (prompt_id);

comment on view ehr.encoder is
'One row per encoder: an immutable union of weights, tokenizer, pooling, precision and text format. Vectors of
two encoders are never compared. manifest holds source, digests and parity figures.
Example: select name, dimension, is_serving from ehr.encoder;';
