"""Amazon SQS: the 23 actions, and what decides them."""
