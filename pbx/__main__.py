"""``python -m pbx`` is ``pbx``."""

import sys

from pbx.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
