"""``python -m invbench`` is ``invbench``."""

from invbench.cli import main

if __name__ == "__main__":
    main(prog_name="invbench")
