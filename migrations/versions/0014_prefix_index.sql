-- Indexes that hold all dimensions, or signs, of such encoders: the next refresh builds them anew; until then all
-- patients are compared.
do $$
declare
    for_encoder_id integer;
begin
    for for_encoder_id in
        select encoder_id from ehrdb.encoder
         where dimension > 1024 and jsonb_path_exists(manifest, '$.matryoshka_dimensions[*] ? (@ <= 1024)')
    loop
        execute format('drop index if exists ehrdb.patient_embedding_%s_hnsw', for_encoder_id);
    end loop;
end
$$;
