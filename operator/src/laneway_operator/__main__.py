"""`python -m laneway_operator`."""

from laneway_operator.main import main

main()
