"""ehrdb: patient timelines, LLM embeddings, similarity and prediction as features of PostgreSQL."""
