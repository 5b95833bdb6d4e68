create or replace function ehr.model_card(task text, encoder text default null) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    head constant ehrdb.head := ehrdb.head_of(task, ehrdb.encoder_id(encoder));
begin
    return (
        select jsonb_build_object(
                   'task', head.target, 'description', t.description, 'rule', t.declaration,
                   'encoder', n.name, 'encoder_digest', n.digest, 'prompt', p.prompt,
                   'trained_at', head.trained_at) || head.provenance
          from ehrdb.task t, ehrdb.encoder n, ehrdb.prompt p
         where t.task = head.task and n.encoder_id = head.encoder_id and p.prompt_id = head.prompt_id);
end
$$;

comment on function ehr.model_card(text, text) is
'Where a head comes from and how well it does.
Task and rule, encoder and its digest, prompt, counts of labels, the loads and the labels that it saw, how patients
were split, chosen regularization, scores on the test patients, library versions. EH005: unknown task; EH006: no head.
Example: select jsonb_pretty(ehr.model_card(''guo_los''));';
