create or replace function ehrdb.take_missing(for_encoder_id integer, most integer) returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    missing bigint[] := '{}';
    looked_at bigint[];
    each_prompt record;
begin
    -- A prompt that was given up and is wanted again starts anew.
    delete from ehrdb.plan_progress g
     where g.encoder_id = for_encoder_id
       and not exists (select from ehrdb.encoder_prompt p where (p.encoder_id, p.prompt_id) = (g.encoder_id, g.prompt_id));
    insert into ehrdb.plan_progress (encoder_id, prompt_id)
    select p.encoder_id, p.prompt_id from ehrdb.encoder_prompt p where p.encoder_id = for_encoder_id
        on conflict do nothing;
    for each_prompt in
        select g.* from ehrdb.plan_progress g where g.encoder_id = for_encoder_id and not g.is_done
    loop
        looked_at := array(select p.patient_id from ehrdb.patient p
                            where p.patient_id > each_prompt.planned_to order by p.patient_id limit most);
        missing := missing || array(
            select l from unnest(looked_at) l
             where l <> all (missing)
               and not exists (select from ehrdb.embedding_point n
                                where n.encoder_id = for_encoder_id and n.prompt_id = each_prompt.prompt_id
                                  and n.patient_id = l and n.is_current));
        update ehrdb.plan_progress g
           set planned_to = coalesce(looked_at[cardinality(looked_at)], g.planned_to), is_done = cardinality(looked_at) < most
         where (g.encoder_id, g.prompt_id) = (each_prompt.encoder_id, each_prompt.prompt_id);
    end loop;
    return missing;
end
$$;

comment on function ehrdb.take_missing(integer, integer) is
'Of the next so many patients whom a prompt''s first comparison has not reached, those without a current point under it.';
