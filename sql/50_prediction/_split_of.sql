create or replace function ehrdb.split_of(patient_id bigint) returns text
language sql immutable parallel safe strict
begin atomic
    select case when bucket < 70 then 'train' when bucket < 85 then 'val' else 'test' end
      from (select ('x' || substr(encode(sha256(convert_to('97|' || patient_id, 'UTF8')), 'hex'), 1, 15))::bit(60)::bigint
                   % 100 as bucket) hashed;
end;

comment on function ehrdb.split_of(bigint) is
'Split of a patient whose source names none: sha-256 of seed 97 and patient id, modulo 100: below 70 train, below
85 val, else test. The same for every task and for ever.';
