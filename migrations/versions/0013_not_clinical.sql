-- The few concepts that explanations leave out are read as a set, instead of looking every concept up.
create index concept_frequency_not_clinical on ehrdb.concept_frequency (code_id) where not is_clinical;
