"""The program: ``python -m chatgpt_platform COMMAND``, and what the executable is made from."""

import sys

if __name__ == "__main__":
    try:
        # Imported here, so that Ctrl-C during the imports ends in no traceback either.
        from chatgpt_platform.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
