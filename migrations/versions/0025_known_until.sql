-- as_of is the moment that was asked about; up to where a vector knows the record is known_until, as in answers to pairs.
-- Renamed, not made anew: what users built on them goes on, under the names that they gave.
alter type ehrdb.neighbour rename attribute as_of to known_until;
alter type ehrdb.prediction rename attribute as_of to known_until;
alter type ehrdb.task_prediction rename attribute as_of to known_until;
alter type ehrdb.survival rename attribute as_of to known_until;
alter view if exists ehr.prediction rename column as_of to known_until;
