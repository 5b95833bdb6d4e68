create or replace view ehr.format with (security_invoker = true) as
with category (category) as (
    values ('demographics'), ('visits'), ('conditions'), ('medications'), ('procedures'), ('labs')
)
select f.name, f.version, f.description from ehrdb.format f
union all
select f.name || '_no_' || c.category, f.version, f.description || ' Without ' || c.category || '.'
  from ehrdb.format f cross join category c where f.kind in ('list', 'graded')
union all
select f.name || '_only_' || c.category, f.version, f.description || ' Only ' || c.category || '.'
  from ehrdb.format f cross join category c where f.kind in ('list', 'graded');

comment on view ehr.format is
'Formats that ehr.timeline knows. Category endings combine: list_recent_no_labs_no_visits. version enters the
identity of an encoder: it changes when a format''s text does.
Example: select name from ehr.format;';

comment on column ehr.format.name is 'What ehr.timeline takes as format.';
comment on column ehr.format.version is 'Changes when the format''s text does.';
comment on column ehr.format.description is 'What the text holds.';
