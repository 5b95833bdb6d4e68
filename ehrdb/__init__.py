"""ehrdb: patient timelines, LLM embeddings, similarity and prediction as features of PostgreSQL."""

__version__ = "0.1.0"
