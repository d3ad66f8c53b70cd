"""`laneway events`: the event log of a service, for people: shown, told as of then, folded, rebuilt, checked."""
