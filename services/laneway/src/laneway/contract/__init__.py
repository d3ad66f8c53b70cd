"""The contract: what the descriptors say about each call, and the code generated from them."""
