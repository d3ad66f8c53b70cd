"""The gRPC lane: what travels between services."""
