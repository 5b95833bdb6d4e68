create or replace function ehr.risk_reasons(
    task text, patient_id bigint, as_of timestamp default 'infinity', encoder text default null
) returns table (kind text, name text, lines integer, effect float8, effect_on_log_odds float8, made_at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_noted constant boolean := ehrdb.note('risk_reasons', array[$2]);
    head constant ehrdb.head := ehrdb.head_of($1, ehrdb.encoder_id($4));
begin
    perform ehrdb.require_patient($2), ehrdb.is_moment($3);
    return query
    select e.kind, case when e.kind = 'line' then (string_to_array(t.text, E'\n'))[e.line] else e.name end, e.lines,
           e.effect, e.effect_on_log_odds, r.made_at
      from ehrdb.encoder n
      join ehrdb.prompt p on p.prompt_id = head.prompt_id
     cross join lateral ehr.timelines(array[$2], array[$3], n.format) t
      join ehrdb.risk_reason r on r.head_id = head.head_id and r.patient_id = $2
       and r.content_sha256 = ehrdb.explained_content(n.encoder_id, p.prompt_id, $2, $3, t.text)
     cross join lateral (
        select j ->> 'kind' as kind, j ->> 'name' as name, (j #>> '{lines,0}')::integer as line,
               jsonb_array_length(j -> 'lines') as lines, (j ->> 'probability')::float8 as effect,
               (j ->> 'log_odds')::float8 as effect_on_log_odds
          from jsonb_array_elements(r.reasons -> 'parts') j) e
     where n.encoder_id = head.encoder_id
     order by abs(e.effect_on_log_odds) desc, e.line, e.kind;
end
$$;

comment on function ehr.risk_reasons(text, bigint, timestamp, text) is
'Which lines, kinds of events and visits move a patient''s probability, as `ehrdb explain` found it.
effect: the probability with a part minus that without it; effect_on_log_odds: the same before calibration. They say what this head
makes of this text: no cause, and not what would follow from treating a patient otherwise. No rows: nobody has explained
the text as of then: `ehrdb explain TASK PATIENT`. EH001: unknown patient; EH005, EH006: unknown task, no head.
Example: select name, effect from ehr.risk_reasons(''guo_los'', 1) where kind = ''line'' limit 10;';
