"""For all tests: asserts in the helpers explain themselves as those in the tests do."""

import hypothesis
import pytest

# How long an example takes is the machine's affair; speed is measured elsewhere.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

pytest.register_assert_rewrite("support.background", "support.gateway", "support.program", "support.simulated")
