"""`python -m node.crs`: `node.crs.program`, or what to install where libraries are missing."""

import sys

from node.crs.words import refuse


def main() -> int:
    """Run the program."""
    try:
        from node.crs.program import run
    except ModuleNotFoundError as error:
        if error.name not in ("lxml", "signxml"):
            raise
        return refuse("crs-extra-missing", error.name)
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
