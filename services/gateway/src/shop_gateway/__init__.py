"""The public door: REST outside, gRPC inside."""
