-- What a row of a load's report is about, so that no name of a source's table is taken for anything else.
alter table ehrdb.load_report add column kind text not null default 'table'
    check (kind in ('table', 'figures', 'rules', 'not read', 'unread patients'));
update ehrdb.load_report
   set kind = case when source_table in ('times', 'visits', 'values', 'units', 'codes used') then 'figures'
                   when starts_with(source_table, 'format rules: ') then 'rules'
                   when source_table = 'not read' then 'not read'
                   when source_table = 'patients whose rows are as before' then 'unread patients'
                   else 'table' end;
alter table ehrdb.load_report drop constraint load_report_pkey, add primary key (load_id, kind, source_table);
