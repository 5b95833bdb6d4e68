create or replace function ehrdb.degree(steps float8) returns text
language sql immutable parallel safe
begin atomic
    select case when steps < 0.3 then 'slightly ' when steps < 0.8 then 'moderately ' when steps < 1.6 then ''
                when steps < 3 then 'very ' else 'extremely ' end;
end;

comment on function ehrdb.degree(float8) is
'How far outside a reference interval so many steps are, in a word that stands before low or high.';
