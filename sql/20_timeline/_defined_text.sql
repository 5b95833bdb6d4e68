create or replace view ehrdb.defined_text with (security_invoker = true) as
with resolved as (
    select c.code_id, c.code, c.vocabulary,
           coalesce(mapped.text, c.description, c.code) as ontology_text,
           x.vocabulary is not null as is_excluded,
           exists (select from ehrdb.custom_text t where t.vocabulary = c.vocabulary) as has_custom_texts,
           custom.description as custom_text
      from ehrdb.concept c
      left join ehrdb.excluded_vocabulary x
        on x.vocabulary = upper(replace(trim(split_part(c.code, '/', 1)), ' ', '_'))
      left join ehrdb.custom_text custom
        on custom.vocabulary = c.vocabulary and custom.code = lower(split_part(c.code, '/', 2))
      -- What a map calls a code that has no name of its own; one of OMOP/table:value has its value at most.
      left join lateral (
            select coalesce(m.description, m.standard_description) as text
              from ehrdb.mapped_code m
             where m.code_id = c.code_id
               and (c.description is null or c.vocabulary = 'OMOP' and c.description = substr(c.code, strpos(c.code, ':') + 1))
             order by m.description is null, m.map, m.standard_code limit 1) mapped on true
)
select r.code_id,
       ehrdb.strip(case
           when r.vocabulary = 'Cancer Modifier' and r.code not like '%OMOP%'
               then translate(substr(r.code, length('Cancer Modifier/') + 1), '_-/', '   ')
           when r.has_custom_texts then r.custom_text
           else r.ontology_text
       end) as text,
       r.ontology_text like 'Birth%' and r.vocabulary <> 'Cancer Modifier' as is_birth
  from resolved r
 where not r.is_excluded
   and (r.custom_text is not null or not r.has_custom_texts);

comment on view ehrdb.defined_text is
'What a timeline calls a code; codes without a row are not shown. Custom texts replace a vocabulary''s own
descriptions entirely once any is loaded for it. is_birth: what Markdown drops (text starts with Birth).';
