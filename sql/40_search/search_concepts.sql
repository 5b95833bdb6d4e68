create or replace function ehr.search_concepts(words text, max_count integer default 20)
returns table (rank integer, code text, description text, vocabulary text, patients bigint)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('search_concepts');
    -- The expressions are those of the indexes concept_by_word and concept_text_by_word.
    with asked as materialized (
        select ehrdb.word_query($1) as query, btrim($1) as code where ehrdb.is_count($2, 'max_count')
    ), found as (
        select c.code_id, 1::real as score from ehrdb.concept c where c.code = (select a.code from asked a)
        union all
        select c.code_id, ts_rank(to_tsvector('pg_catalog.simple', translate(left(c.description, 10000), '/_', '  ')),
                                  (select a.query from asked a), 2)
          from ehrdb.concept c
         where to_tsvector('pg_catalog.simple', translate(left(c.description, 10000), '/_', '  '))
               @@ (select a.query from asked a)
        union all
        select t.code_id, ts_rank(to_tsvector('pg_catalog.simple', translate(left(t.text, 10000), '/_', '  ')),
                                  (select a.query from asked a), 2)
          from ehrdb.concept_text t
         where to_tsvector('pg_catalog.simple', translate(left(t.text, 10000), '/_', '  '))
               @@ (select a.query from asked a)
    ), best as materialized (
        select c.code_id, c.code, coalesce(c.description, t.text, c.code) as description, c.vocabulary,
               row_number() over (order by f.score desc, c.code) as rank
          from (select code_id, max(score) as score from found group by code_id) f
          join ehrdb.concept c using (code_id)
          left join ehrdb.concept_text t using (code_id)
         order by rank
         limit case when ehrdb.is_count($2, 'max_count') then $2 end  -- with none to find, what is above is not reached
    )
    -- Of a patient's events of a concept exactly one is valid for ever.
    select b.rank::integer, b.code, b.description, b.vocabulary,
           (select count(*) from ehrdb.event e where e.code_id = b.code_id and e.valid_to = 'infinity')
      from best b
     order by b.rank
$$;

comment on function ehr.search_concepts(text, integer) is
'Concepts by their words, best first.
Of the description, or the text in timelines, each of the words begins a word: a code itself first, then short texts.
patients: how many whom you may see have it. Nothing where no concept matches; EH010 for no words.
Example: select code, description, patients from ehr.search_concepts(''heart fail'');';
