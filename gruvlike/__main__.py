"""`python -m gruvlike`: the command line."""

from gruvlike.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
