create or replace function ehrdb.survival_heads(task text, for_encoder_id integer) returns text[]
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    intervals constant text[] := array(
        select h.target from ehrdb.head h
         where h.task = $1 and h.encoder_id = for_encoder_id and h.target like replace($1, '_', '\_') || '\_day\_%'
         order by h.target);
begin
    if intervals = '{}' then
        perform ehrdb.head_of($1, for_encoder_id);
        raise exception using errcode = 'EH006', message = format('task %s is not one of survival', $1),
            hint = format('See: select ehr.predict(%L, ...);', $1);
    end if;
    return intervals;
end
$$;

comment on function ehrdb.survival_heads(text, integer) is
'The targets of a survival task, one an interval. EH005, EH006: unknown task, none of survival or no head.';
