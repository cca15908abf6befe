"""A closed-loop load generator for any SQS endpoint: the engine behind `stanchion bench`.

It is a client. It shares no code with the server, so that a mistake in the server's signing or
encoding cannot hide behind the same mistake here, and it must cost far less than what it measures.
The tour: `coordinator` starts workers, a `worker` opens connections, each connection follows one
of the `scripts`, which gets its requests from `calls`, signed by `signing`; what was seen is kept
in a `tally` and told by `report`.
"""
