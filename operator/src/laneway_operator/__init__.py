"""Scales the consumers of queues to a waiting-time objective, without harming a task.

`watch` sees the cluster, `brokers` sees the queues, `laneway.scaling` decides, `apply` carries out, `status` tells; the
`poller` does that once a second for every WorkerPool, while `lease` says that it is this process that decides.
"""
