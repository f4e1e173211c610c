"""`python -m qfbatch`, and what `qfbatch` itself calls."""

import gc

from qfbatch.cli.main import main as command_line


def main() -> None:
    """Run the command line in a process of its own.

    What is loaded by now stays to the end and is no garbage; to search it at the end took a seventh of
    `qfbatch --help`.
    """
    gc.freeze()
    command_line()


if __name__ == "__main__":
    main()
