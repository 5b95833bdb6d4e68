create or replace function ehr.nearest_to_text(
    query text, k integer default 10, cohort bigint[] default null, patience interval default '30 seconds',
    encoder text default null
) returns setof ehrdb.neighbour
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    is_noted constant boolean := ehrdb.note('nearest_to_text', cohort => $3);
    can_be_asked constant boolean := ehrdb.is_count(k, 'k') and ehrdb.is_cohort(cohort) and ehrdb.is_span(patience, 'patience');
    deadline constant timestamptz := clock_timestamp() + least(patience, interval '1 hour');
    request_id constant uuid := ehrdb.say_to_worker(query, encoder, deadline);
    answer record;
begin
    loop
        select t.embedding, t.error into answer from ehrdb.take_answer(request_id) t;
        exit when answer.embedding is not null;
        if answer.error is not null then
            raise exception using errcode = 'EH008', message = 'the worker reports ' || answer.error,
                hint = 'See the worker''s log.';
        end if;
        continue when ehrdb.require_time(deadline);
    end loop;
    return query
    select * from ehrdb.nearest(ehrdb.encoder_id(encoder), answer.embedding::public.halfvec, k, cohort, 'infinity', null);
end
$$;

comment on function ehr.nearest_to_text(text, integer, bigint[], interval, text) is
'The k patients whose records are most like a description in words, nearest first; may be joined.
A running `ehrdb worker` reads the text, which is kept no longer than that takes, inside a transaction too. patience is how
long to wait for it, an hour at most. EH008: no worker, or none in time; EH010: an empty text, one of more than 8,000
characters, or a transaction that is read-only or not read committed.
Example: select n.*, p.sex from ehr.nearest_to_text(''woman with heart failure'', 5) n join ehr.patient p using (patient_id);';
