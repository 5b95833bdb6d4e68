-- Vectors and contents of each encoder, kept by difference.
create or replace function ehrdb.keep_encoder_figures() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    sign constant integer := case tg_op when 'INSERT' then 1 else -1 end;
begin
    if tg_table_name = 'patient_embedding' then
        insert into ehrdb.figure (encoder_id, embedded) select encoder_id, sign * count(*) from touched group by encoder_id;
    elsif tg_table_name = 'embedding_job' then
        insert into ehrdb.figure (encoder_id, queued) select encoder_id, sign * count(*) from touched group by encoder_id;
    else
        insert into ehrdb.figure (encoder_id, contents, truncated)
        select encoder_id, sign * count(*), sign * count(*) filter (where is_truncated) from touched group by encoder_id;
    end if;
    return null;
end
$$;

create or replace trigger figure_inserted after insert on ehrdb.patient_embedding
    referencing new table as touched for each statement execute function ehrdb.keep_encoder_figures();
create or replace trigger figure_deleted after delete on ehrdb.patient_embedding
    referencing old table as touched for each statement execute function ehrdb.keep_encoder_figures();
create or replace trigger figure_inserted after insert on ehrdb.embedding
    referencing new table as touched for each statement execute function ehrdb.keep_encoder_figures();
create or replace trigger figure_deleted after delete on ehrdb.embedding
    referencing old table as touched for each statement execute function ehrdb.keep_encoder_figures();
create or replace trigger figure_inserted after insert on ehrdb.embedding_job
    referencing new table as touched for each statement execute function ehrdb.keep_encoder_figures();
create or replace trigger figure_deleted after delete on ehrdb.embedding_job
    referencing old table as touched for each statement execute function ehrdb.keep_encoder_figures();
