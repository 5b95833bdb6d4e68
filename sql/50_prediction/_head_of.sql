create or replace function ehrdb.head_of(task text, for_encoder_id integer) returns ehrdb.head
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    found ehrdb.head;
    wanted_task alias for task;
begin
    select h.* into found from ehrdb.head h
     where h.target = wanted_task and h.encoder_id = for_encoder_id;
    if found.head_id is null and not exists (
        select from ehrdb.task t where t.task = wanted_task or starts_with(wanted_task, t.task || '_')) then
        raise exception using errcode = 'EH005', message = format('unknown task %L', wanted_task),
            hint = 'See: select task from ehr.task;';
    elsif found.head_id is null then
        raise exception using errcode = 'EH006',
            message = format('task %s has no head for encoder %s', wanted_task,
                             (select e.name from ehrdb.encoder e where e.encoder_id = for_encoder_id)),
            hint = format('Run `ehrdb train %s`.', wanted_task);
    end if;
    return found;
end
$$;

comment on function ehrdb.head_of(text, integer) is
'The head of a task for an encoder. EH005: unknown task; EH006: none trained.';
