create or replace view ehr.encoder with (security_invoker = true) as
select e.name, e.is_serving, e.dimension, e.max_tokens, e.pooling, e.precision, e.format, e.format_version,
       p.prompt, e.digest, e.manifest, e.created_at,
       e.kind, a.name as first_part, b.name as second_part
  from ehrdb.encoder e
  join ehrdb.prompt p using (prompt_id)
  left join ehrdb.encoder a on a.encoder_id = e.first_part_id
  left join ehrdb.encoder b on b.encoder_id = e.second_part_id;

comment on view ehr.encoder is
'One row per encoder: an immutable union of weights, tokenizer, pooling, precision and text format. Vectors of
two encoders are never compared. manifest holds source, digests and parity figures. kind: model (run by the
refresh), import (vectors made elsewhere) or concatenation (the vectors of first_part and second_part side by side).
Example: select name, dimension, is_serving from ehr.encoder;';
