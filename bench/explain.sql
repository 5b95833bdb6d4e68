-- name: parents
-- 500 groups of 40 concepts
insert into ehrdb.concept (code, vocabulary, description)
select 'GROUP/' || i, 'GROUP', 'Group ' || i from generate_series(1, 500) i;
insert into ehrdb.concept_parent (child_id, parent_id)
select c.code_id, g.code_id
  from ehrdb.concept c
  join ehrdb.concept g on g.code = 'GROUP/' || (1 + c.code_id % 500)
 where c.vocabulary <> 'GROUP';

-- name: nearest
-- ten neighbours
select * from ehr.nearest_patients(%(patient_id)s, 10);

-- name: explained
-- ten neighbours, with the ten rarest concepts that each shares
select n.patient_id, n.similarity, e.*
  from ehr.nearest_patients(%(patient_id)s, 10) n
 cross join lateral (
    select * from ehr.explain_similarity(%(patient_id)s, n.patient_id)
     where relation in ('shared', 'related') limit 10) e;
