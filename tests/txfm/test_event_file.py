"""Event files are what TensorBoard's own reader takes them for, also after a run was resumed."""

import json
import subprocess
from pathlib import Path

import pytest
from tool_environments import tool_python

from txfm.training.event_file import EventFile

READER = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"""


def test_tensorboard_reads_the_scalars_and_forgets_the_steps_that_a_resumed_run_takes_again(tmp_path: Path) -> None:
    python = tool_python("tensorboard")
    first = EventFile(tmp_path / "run", first_step=0)
    for step in (1, 2, 300, 70_000):
        first.add(step, {"train/loss": -step / 8, "validation/cls_rank": 2.5})
    first.close()
    resumed = EventFile(tmp_path / "run", first_step=300)
    resumed.add(300, {"train/loss": 7.0})
    resumed.close()
    answer = subprocess.run([python, "-c", READER, tmp_path / "run"], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == {
        "train/loss": [[1, -0.125], [2, -0.25], [300, 7.0]],
        "validation/cls_rank": [[1, 2.5], [2, 2.5]],
    }


def test_each_run_has_a_file_of_its_own(tmp_path: Path) -> None:
    for _ in range(3):
        EventFile(tmp_path, first_step=0).close()
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 3
    with pytest.raises(FileExistsError):
        EventFile(next(tmp_path.iterdir()), first_step=0)
