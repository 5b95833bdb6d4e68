create or replace procedure ehr.search_text(
    query text, k integer default 10, cohort bigint[] default null, patience interval default '30 seconds',
    encoder text default null, inout neighbours jsonb default null
)
language plpgsql
as $$
-- No pinned search_path: a procedure with one may not commit, and a worker sees only what is committed.
declare
    request_id pg_catalog.uuid;
    embedding public.vector;
    error text;
    deadline pg_catalog.timestamptz;
begin
    request_id := ehrdb.ask_worker(query, encoder);
    commit;
    -- Under repeatable read nobody would ever see the answer.
    set transaction isolation level read committed;
    deadline := pg_catalog.clock_timestamp() operator(pg_catalog.+) patience;
    loop
        select t.embedding, t.error into embedding, error from ehrdb.take_answer(request_id) t;
        exit when embedding is not null or error is not null
               or pg_catalog.clock_timestamp() operator(pg_catalog.>) deadline;
        perform pg_catalog.pg_sleep(0.02);
    end loop;
    if embedding is null then
        perform ehrdb.withdraw_request(request_id);
        commit;
        raise exception using errcode = 'EH008',
            message = coalesce('the worker reports ' operator(pg_catalog.||) error,
                                          'no worker answered in time'),
            hint = 'See the worker''s log; give it longer with patience => ''2 minutes''.';
    end if;
    select pg_catalog.jsonb_agg(pg_catalog.to_jsonb(n) order by n.rank) into neighbours
      from ehrdb.nearest(ehrdb.encoder_id(encoder), embedding::public.halfvec, k, cohort, 'infinity', null) n;
end
$$;

comment on procedure ehr.search_text(text, integer, bigint[], interval, text, jsonb) is
'The k patients whose records are most like a description in words, as JSON.
Rank, patient_id, similarity, known_until, is_stale, as ehr.nearest_to_text gives in rows. A running `ehrdb worker` reads
the text, which is kept no longer than that takes; patience is how long to wait for it. Not inside a transaction
block: the worker must see the question. EH008: no worker, or none in time; EH010: an empty text, or one of more than
8,000 characters.
Example: call ehr.search_text(''72-year-old woman with heart failure and chronic kidney disease'', 5);';
