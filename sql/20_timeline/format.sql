create or replace view ehr.format with (security_invoker = true) as
with base (name, description) as (
    values
    ('list_recent', 'Latest value of each code, newest first (the paper''s default).'),
    ('list_recent_time', 'The same with times, shifted so that as_of is 2024-01-01.'),
    ('list_first', 'First value of each code, oldest first.'),
    ('list_first_time', 'The same with times, shifted so that as_of is 2024-01-01.')
), category (category) as (
    values ('demographics'), ('visits'), ('conditions'), ('medications'), ('procedures'), ('labs')
)
select b.name, 1 as version, b.description from base b
union all
select 'markdown', 1, 'Document: demographics, 24 body measures and labs, visits with their events.'
union all
select b.name || '_no_' || c.category, 1, b.description || ' Without ' || c.category || '.'
  from base b cross join category c
union all
select b.name || '_only_' || c.category, 1, b.description || ' Only ' || c.category || '.'
  from base b cross join category c;

comment on view ehr.format is
'Formats that ehr.timeline knows. Category endings combine: list_recent_no_labs_no_visits. version enters the
identity of an encoder: it changes when a format''s text does.
Example: select name from ehr.format;';
