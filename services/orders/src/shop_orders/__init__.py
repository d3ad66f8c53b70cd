"""Orders: an event-sourced aggregate."""
