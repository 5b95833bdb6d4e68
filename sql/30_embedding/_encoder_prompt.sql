create or replace view ehrdb.encoder_prompt with (security_invoker = true) as
select e.encoder_id, p.prompt_id, p.prompt
  from ehrdb.encoder e
  join ehrdb.prompt p
    on p.prompt_id = e.prompt_id
    or exists (select from ehrdb.head h where h.encoder_id = e.encoder_id and h.prompt_id = p.prompt_id)
    or (e.manifest ->> 'prompt_template')::boolean
       and exists (select from ehrdb.head h
                     join ehrdb.encoder w on w.encoder_id = h.encoder_id
                    where h.prompt_id = p.prompt_id
                      and exists (select from ehrdb.encoder_part t
                                   where t.encoder_id = w.encoder_id and t.part_id = e.encoder_id));

comment on view ehrdb.encoder_prompt is
'Prompts under which every patient''s current timeline is embedded: the neutral one and those of trained heads, the
heads of a concatenation that the encoder is part of among them.';
