-- Why a refresh ended early: the kind of error, never its words.
alter table ehrdb.refresh_run add column error text;

-- Rates and truncation are counted from the vectors themselves, at each look.
create index embedding_by_age on ehrdb.embedding using brin (embedded_at);
create index embedding_truncated on ehrdb.embedding (encoder_id) where is_truncated;
