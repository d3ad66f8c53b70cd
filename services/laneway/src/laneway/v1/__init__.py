"""The vocabulary of contracts and the system services, generated from protos/laneway/v1."""
