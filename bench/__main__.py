"""``python -m bench`` is ``invbench``."""

from bench.cli import main

if __name__ == "__main__":
    main(prog_name="invbench")
