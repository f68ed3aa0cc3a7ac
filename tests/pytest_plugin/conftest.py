"""Suites that run with the plugin `harness_fixtures`."""

from pathlib import Path

import pytest
from plugin_suites import PluginSuite


@pytest.fixture
def plugged(tmp_path: Path) -> PluginSuite:
    return PluginSuite(tmp_path)
