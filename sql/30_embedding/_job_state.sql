create or replace function ehrdb.job_state(job ehrdb.embedding_job, lease interval) returns text
language sql volatile parallel safe
begin atomic
    select case
        when job.is_dead then 'dead'
        -- A lease or delay longer than any that is given was set before the clock stepped back: it holds no more.
        when job.leased_until > clock_timestamp() and job.leased_until <= clock_timestamp() + job_state.lease then 'leased'
        when job.not_before > clock_timestamp() and job.not_before <= clock_timestamp() + interval '2 hours' then 'waiting'
        else 'ready' end;
end;

comment on function ehrdb.job_state(ehrdb.embedding_job, interval) is
'What can be done with a content in the queue: ready, leased (a worker has it), waiting (for its next try), dead.';
