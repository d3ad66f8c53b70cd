"""`laneway up`: every installed service and what it needs, as processes of this machine, until it is told to stop."""
