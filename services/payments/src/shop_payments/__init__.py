"""Money, moved by an unreliable provider."""
