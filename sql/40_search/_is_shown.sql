create or replace function ehrdb.is_shown(positive bigint, known bigint) returns boolean
language sql immutable parallel safe
begin atomic
    -- No count from 1 to 10 is shown, nor a share that would reveal it (CMS cell size policy). A courtesy: whoever asks
    -- may read the records, and the difference of two cohorts shows what one withholds.
    select positive in (0, known) or least(positive, known - positive) >= 11;
end;

comment on function ehrdb.is_shown(bigint, bigint) is 'Whether so many of so many may stand on a screen.';
