"""From a file to a cited answer through the API's container: the tests of test_api_journey.py, on containers."""

from __future__ import annotations

from test_api_journey import *  # noqa: F403
