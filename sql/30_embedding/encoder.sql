create or replace view ehr.encoder with (security_invoker = true) as
select e.name, e.is_serving, e.dimension, e.max_tokens, e.pooling, e.precision, e.format, e.format_version,
       p.prompt, e.digest, e.manifest, e.created_at,
       e.kind, part.names[1] as first_part, part.names[2] as second_part, part.names as parts
  from ehrdb.encoder e
  join ehrdb.prompt p using (prompt_id)
  left join lateral (
    select array_agg(n.name order by t.place) as names
      from ehrdb.encoder_part t join ehrdb.encoder n on n.encoder_id = t.part_id
     where t.encoder_id = e.encoder_id) part on true;

comment on view ehr.encoder is
'One row per encoder: an immutable union of weights, tokenizer, pooling, precision and text format. Vectors of
two encoders are never compared. manifest holds source, digests and parity figures. kind: model (run by the
refresh), import (vectors made elsewhere) or concatenation (the vectors of its parts side by side).
Example: select name, dimension, is_serving from ehr.encoder;';

comment on column ehr.encoder.name is 'What questions take as encoder.';
comment on column ehr.encoder.is_serving is 'Whether questions that name no encoder use it.';
comment on column ehr.encoder.dimension is 'Numbers in a vector.';
comment on column ehr.encoder.max_tokens is 'Tokens of a text that are read; the rest is truncated.';
comment on column ehr.encoder.pooling is 'How token vectors become one.';
comment on column ehr.encoder.precision is 'The numbers the model computes with.';
comment on column ehr.encoder.format is 'The text format that is embedded (ehr.format).';
comment on column ehr.encoder.format_version is 'The version of that format.';
comment on column ehr.encoder.prompt is 'The instruction that goes with the text.';
comment on column ehr.encoder.digest is 'What identifies the encoder''s files and settings.';
comment on column ehr.encoder.manifest is 'Source, digests and parity figures, as JSON.';
comment on column ehr.encoder.created_at is 'When it was registered.';
comment on column ehr.encoder.kind is 'model, import or concatenation.';
comment on column ehr.encoder.first_part is 'Of a concatenation the first encoder; null otherwise.';
comment on column ehr.encoder.second_part is 'Of a concatenation the second encoder; null otherwise.';
comment on column ehr.encoder.parts is 'Of a concatenation all its encoders, in order; null otherwise.';
