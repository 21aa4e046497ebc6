"""recgan."""
