"""Policies: documents, conditions, and what they decide. Pure: no clock, store or socket."""
