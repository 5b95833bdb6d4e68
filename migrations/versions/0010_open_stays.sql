-- Corrected Markdown tells of a stay that goes on by what was known then: its texts are compared anew, where an encoder
-- reads them.
insert into ehrdb.changed_patient (patient_id)
select p.patient_id from ehrdb.patient p
 where exists (select from ehrdb.encoder n join ehrdb.format f on f.name = n.format
                where f.kind = 'markdown' and not f.has_slips);
update ehrdb.format set version = 2 where name = 'markdown_corrected';
