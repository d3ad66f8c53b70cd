"""`make bench-operator`: the operator's sizing against KEDA + HPA, on the same traces and the same simulated pods."""
