"""The program: ``python -m chatgpt_platform COMMAND``, and what the executable is made from."""

import gc
import sys

if __name__ == "__main__":
    # What is imported is no garbage: a start that does not look for any is shorter. `main` looks again.
    gc.disable()
    try:
        # Imported here, so that Ctrl-C during the imports ends in no traceback either.
        from chatgpt_platform.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
