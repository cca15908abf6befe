"""Stanchion: Amazon SQS as software that you run yourself."""

__version__ = "0.1.0"
