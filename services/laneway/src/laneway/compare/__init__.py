"""The services that `laneway compare` measures, written as an author writes them; it is `laneway.cli.compare`."""
