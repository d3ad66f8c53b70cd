"""What is in stock: gRPC inside."""
