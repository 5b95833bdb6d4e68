create or replace function ehrdb.create_partitions(new_encoder_id integer, dimension integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    parent text;
    -- Vectors kept inline score 4-9x faster than out-of-line ones; above this a row no longer fits a page.
    is_inline constant boolean := dimension <= 3900;
begin
    foreach parent in array array['embedding', 'patient_embedding'] loop
        -- Made beside its parent and attached when ready: no search waits, not even while it is filled.
        execute format('create table ehrdb.%I (like ehrdb.%I including all, check (encoder_id = %s))',
                       parent || '_' || new_encoder_id, parent, new_encoder_id);
        -- Its parent decides who sees what; asked directly, it shows nothing.
        execute format('alter table ehrdb.%I enable row level security', parent || '_' || new_encoder_id);
        execute format('alter table ehrdb.%I add constraint dimension check (public.vector_dims(embedding) = %s)',
                       parent || '_' || new_encoder_id, dimension);
        execute format('alter table ehrdb.%I alter column embedding set storage %s',
                       parent || '_' || new_encoder_id, case when is_inline then 'plain' else 'external' end);
        execute format('alter table ehrdb.%I attach partition ehrdb.%I for values in (%s)',
                       parent, parent || '_' || new_encoder_id, new_encoder_id);
    end loop;
end
$$;

comment on function ehrdb.create_partitions(integer, integer) is
'Storage of a new encoder: its own partitions, which know their dimension and can be dropped at once.';
