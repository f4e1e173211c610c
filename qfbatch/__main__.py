"""`python -m qfbatch`."""

from qfbatch.cli.main import main

if __name__ == "__main__":
    main()
