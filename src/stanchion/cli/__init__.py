"""The command line: one small file per verb. It reads and prints; it decides nothing."""
