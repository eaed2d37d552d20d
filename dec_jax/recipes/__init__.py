"""Names published settings."""
