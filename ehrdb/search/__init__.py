"""Search: questions in words answered for SQL, and a cohort drawn as a map."""
