"""`python -m proxygap` is the command `proxygap`."""

import sys

from proxygap.experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
