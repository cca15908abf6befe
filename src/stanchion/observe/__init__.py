"""What a running server tells its operator: log lines and metrics."""
