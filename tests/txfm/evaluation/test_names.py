"""The names of txfm.evaluation that stay."""

import subprocess
import sys

import pytest

import txfm.evaluation


def test_every_name_is_there_and_documented():
    for name in txfm.evaluation.NAMES:
        function = getattr(txfm.evaluation, name)
        assert function.__name__ == name
        assert len(function.__doc__) > 100
    assert set(txfm.evaluation.NAMES) <= set(dir(txfm.evaluation))


def test_a_name_that_is_none_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'tvm'"):
        txfm.evaluation.tvm  # noqa: B018 - asked for and refused


def test_importing_the_package_stays_light():
    program = "import sys, txfm.evaluation; print(sorted({'sklearn', 'statsmodels'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
