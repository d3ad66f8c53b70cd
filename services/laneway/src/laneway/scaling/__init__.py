"""Scaling of queue consumers to a waiting-time objective: what is seen, what is decided, and how it reaches a broker.

`model` has the values, `sizing.decide` is pure, `signals` reads and tells a broker, `report` is the worker's side. The
operator applies decisions to pods, `processes` to the processes of `laneway up`. Knows no lane and no service.
"""
