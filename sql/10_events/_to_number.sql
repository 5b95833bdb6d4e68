create or replace function ehrdb.to_number(text text) returns real
language plpgsql immutable strict  -- an exception block is a subtransaction: not safe in parallel workers
set search_path = pg_catalog, pg_temp
as $$
declare
    digits constant text := lower(btrim(text, E' \t\n\r\f\v'));
    hex constant text[] := regexp_match(digits, '^([+-]?)0x([0-9a-f]+)$');
    parts text[];
    value float8 := 0;
begin
    if hex is not null then
        for i in 1 .. length(hex[2]) loop
            value := value * 16 + strpos('0123456789abcdef', substr(hex[2], i, 1)) - 1;
        end loop;
        return case when hex[1] = '-' then -value else value end;
    elsif digits ~ '^[+-]?nan$' then
        return 'NaN';
    elsif digits ~ '^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$' or digits ~ '^[+-]?inf(inity)?$' then
        return ltrim(digits, '+')::real + 0::real;  -- adding zero turns -0 into 0
    end if;
    return null;
exception
    when numeric_value_out_of_range then
        if hex is not null then
            return case when hex[1] = '-' then '-Infinity'::real else 'Infinity'::real end;
        end if;
        parts := regexp_match(digits, '^[+-]?0*(\d*)\.?(0*)\d*(?:e([+-]?\d+))?$');
        if coalesce(parts[3]::numeric, 0) + length(parts[1])
           - (case when parts[1] = '' then length(parts[2]) else 0 end) <= 0 then
            return 0;
        end if;
        return case when digits like '-%' then '-Infinity'::real else 'Infinity'::real end;
end
$$;

comment on function ehrdb.to_number(text) is
'A value as FEMR 0.0.20 reads it: decimal with optional sign and exponent, inf, infinity, nan (any case), hex;
blanks around it are ignored; rounded to float32; too large is infinite, too small and -0 are 0. Null: a text.';
