create or replace function ehrdb.is_positive(task ehrdb.task, value integer) returns boolean
language sql immutable parallel safe
begin atomic
    -- 8192 is chexpert's code of a report with no finding at all.
    select case task.kind when 'multilabel' then value <> 8192 else value >= 1 end;
end;

comment on function ehrdb.is_positive(ehrdb.task, integer) is
'What counts as positive: label 1, a lab class of 1 or more, any chest X-ray finding.';
