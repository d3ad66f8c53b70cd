"""`laneway compare`: one operation by each lane on this machine, healthy and not, and what its caller notices.

`parts.py` runs the processes, `asking.py` drives them, `costs.py` counts what that costs, `scenarios.py` says what
happens meanwhile, `told.py` shows it. The services themselves are `laneway.compare`'s.
"""
