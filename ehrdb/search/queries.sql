-- name: hear
-- whether a session has just said a question inside its transaction; it lies among the others now
select ehrdb.hear_question();

-- name: forget_requests
-- questions of sessions that are gone
delete from ehrdb.search_request r
 where not exists (select from pg_stat_activity a where a.pid = r.asker_pid and a.usename = r.asked_by);

-- name: take_request
-- the oldest question that nobody works on
update ehrdb.search_request r
   set taken_at = clock_timestamp()
  from (select q.request_id, e.name
          from ehrdb.search_request q
          join ehrdb.encoder e using (encoder_id)
         where q.embedding is null and q.error is null
           and (q.taken_at is null or q.taken_at < clock_timestamp() - interval '30 seconds')
         order by q.asked_at
         limit 1
           for update of q skip locked) next
 where r.request_id = next.request_id
returning r.request_id, next.name, r.query;

-- name: give_answer
-- a vector, or the kind of error; the text is not kept for who comes late to take it
update ehrdb.search_request set embedding = %(embedding)s, error = %(error)s, query = '' where request_id = %(request_id)s;

-- name: neutral_prompt
-- what stands in front of patients' texts
select p.prompt from ehrdb.encoder e join ehrdb.prompt p using (prompt_id) where e.encoder_id = %(encoder_id)s;
