"""Bytes to model and back, in AWS JSON and AWS Query; `protocol.choose` says which of them."""
