"""The event log as messages: read and loaded (`log`), kept in views (`projector`), checked (`verify`)."""
