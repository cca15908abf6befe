"""Real processes, real files, kill -9: what was acknowledged must still be true afterwards."""
