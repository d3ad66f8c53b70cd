"""The REST lane: HTTP outside, the contract's methods inside, by their `google.api.http` rules."""
