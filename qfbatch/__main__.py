"""`python -m qfbatch`, and what `qfbatch` itself calls."""

from qfbatch.cli.garbage import keep_loaded
from qfbatch.cli.main import main as command_line


def main() -> None:
    """Run the command line in a process of its own."""
    keep_loaded()
    command_line()


if __name__ == "__main__":
    main()
