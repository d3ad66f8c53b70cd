"""`python -m laneway`, for a debugger that starts what it debugs."""

from laneway.cli import main

if __name__ == "__main__":
    main()
