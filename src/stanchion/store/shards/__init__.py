"""Several PostgreSQL clusters as one store: which holds what, and who is asked for what."""
