-- A row of a cohort's probabilities says why there is none.
alter type ehrdb.prediction add attribute reason text;
alter type ehrdb.task_prediction add attribute reason text;
