"""`laneway up`: every installed service as processes on this machine."""
