-- How many patients more have a concept by the end of a month than by that of the month before: summed up, how many had
-- it then. Events without a time are of the month -infinity.
create table ehrdb.concept_onset (
    code_id  integer not null,
    month    date not null,
    patients integer not null,
    primary key (code_id, month) include (patients)
);

-- What writers of events have changed of that since it was last put together. Rows are only added.
create table ehrdb.concept_onset_change (
    code_id  integer not null,
    month    date not null,
    patients integer not null
);
create index concept_onset_change_by_code on ehrdb.concept_onset_change (code_id);

insert into ehrdb.concept_onset (code_id, month, patients)
select e.code_id, v.month, sum(v.patients)
  from ehrdb.event e
 cross join lateral (values (date_trunc('month', e.time)::date, 1), (date_trunc('month', e.valid_to)::date, -1)) v (month, patients)
 where v.month < 'infinity'
 group by e.code_id, v.month
having sum(v.patients) <> 0;

-- Since when there is a record of a patient: the time of the first event.
alter table ehrdb.patient add column known_since timestamp;
update ehrdb.patient p set known_since = (select min(e.time) from ehrdb.event e where e.patient_id = p.patient_id);
