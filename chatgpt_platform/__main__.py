"""The program: ``python -m chatgpt_platform COMMAND``, and what the executable is made from."""

import sys

from chatgpt_platform.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
