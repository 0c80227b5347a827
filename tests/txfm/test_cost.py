"""What a configuration costs: FLOPs as torch counts them, memory by formula, and the batch that fits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from txfm.__main__ import main
from txfm.config import PRESETS, ModelConfig, config_from_mapping
from txfm.cost import activation_bytes, embedding_flops_per_sample, state_bytes, training_flops_per_sample
from txfm.describe import describe
from txfm.errors import InputError
from txfm.hardware import Hardware
from txfm.model import TxFM
from txfm.training.micro_batch import available_bytes, choose_micro_batch, control_groups_available
from txfm.training.throughput import Stopwatch, peak_of

CPU = torch.device("cpu")
FLOAT32 = Hardware(device=CPU, precision="float32", threads=1)
GIB = 2**30


def counted_flops(config: ModelConfig, n_genes: int, n_samples: int) -> int:
    """Of forward and backward, by torch; with attention as plain matrix products, which it counts on a CPU."""
    network = TxFM(config, n_genes)
    network.initialise(torch.full((n_genes,), 3.0), torch.Generator().manual_seed(0))
    positions_BK = torch.arange(config.n_visible_genes).expand(n_samples, -1)
    values_BK = torch.rand(n_samples, config.n_visible_genes)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        output = network(positions_BK, values_BK)
        losses = [output.logits_BG.sum()]
        if output.zero_logits_BG is not None:
            losses.append(output.zero_logits_BG.sum())
        sum(losses).backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"n_blocks": 3, "n_heads": 4, "mlp_ratio": 2},
        {"n_decoder_blocks": 0},
        {"loss": "zero_inflated_negative_binomial"},
    ],
)
def test_flops_are_those_that_torch_counts(overrides: dict[str, object]) -> None:
    config = config_from_mapping({"preset": "nano", "n_visible_genes": 40} | overrides)
    assert 2 * training_flops_per_sample(config, 150) == counted_flops(config, 150, 2)


def test_flops_of_an_embedding_are_those_that_torch_counts() -> None:
    config = config_from_mapping({"preset": "nano", "n_blocks": 3})
    network = TxFM(config, 90).eval()
    positions, values = torch.arange(90).expand(2, -1), torch.ones(2, 90)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network.encode(positions, values)
    assert 2 * embedding_flops_per_sample(config, 90) == counter.get_total_flops()


def test_memory_grows_with_samples_genes_and_width_and_less_in_bf16() -> None:
    config = PRESETS["S"]
    of_one = activation_bytes(config, 10_000, 1, "bf16", "cuda")
    assert activation_bytes(config, 10_000, 7, "bf16", "cuda") == pytest.approx(7 * of_one)
    assert of_one < activation_bytes(config, 10_000, 1, "float32", "cuda")
    assert of_one < activation_bytes(PRESETS["B"], 10_000, 1, "bf16", "cuda")
    assert state_bytes(config, 10_000, "float32") == 16 * sum(
        parameter.numel() for parameter in TxFM(config, 10_000).parameters()
    )


def test_a_batch_is_cut_into_equal_parts_that_fit() -> None:
    config = PRESETS["nano"]
    per_sample = activation_bytes(config, 1000, 1, "float32", "cpu")
    for_thirty = round((state_bytes(config, 1000, "float32") + 30.5 * per_sample) / 0.8)
    assert choose_micro_batch(config, 1000, 100, FLOAT32, for_thirty) == 25  # four parts, not three of 30 and one of 10
    assert choose_micro_batch(config, 1000, 100, FLOAT32, 100 * GIB) == 100
    with pytest.raises(InputError, match=r"not even with one sample[\s\S]*--batch-size 1"):
        choose_micro_batch(config, 1000, 100, FLOAT32, 2**20)


def test_in_bf16_on_a_cpu_parts_are_no_larger_than_those_that_keep_their_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_from_mapping({"preset": "nano", "n_visible_genes": 99, "n_heads": 2, "width": 32})
    monkeypatch.setattr("txfm.cpu_attention.KEPT_BYTES", 30 * 2 * 2 * 100**2)  # of 30 samples
    bf16 = replace(FLOAT32, precision="bf16")
    assert choose_micro_batch(config, 1000, 100, bf16, 100 * GIB) == 25
    assert choose_micro_batch(config, 1000, 100, FLOAT32, 100 * GIB) == 100
    kept, more = (activation_bytes(config, 1000, n, "bf16", "cpu") / n for n in (30, 31))
    assert kept - more == pytest.approx(2 * 2 * 100**2 * config.n_blocks + 2 * 2 * 100**2, rel=0.01)
    monkeypatch.setattr("txfm.cpu_attention.KEPT_BYTES", 1)
    assert choose_micro_batch(config, 1000, 3, bf16, 100 * GIB) == 1


def test_available_memory_is_what_the_machine_and_its_control_groups_leave(tmp_path: Path) -> None:
    assert 2**26 < available_bytes(CPU) < 2**44
    assert available_bytes(CPU, 4) <= available_bytes(CPU) // 3
    job = tmp_path / "slurm" / "job_7"
    job.mkdir(parents=True)
    own = tmp_path / "cgroup"
    own.write_text("0::/slurm/job_7\n")
    limits = {job: ("max", 900), job.parent: (str(3 * GIB), 2 * GIB)}
    for folder, (limit, used) in limits.items():
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {GIB // 2}\n")
    assert control_groups_available(tmp_path, own) == [3 * GIB // 2]


def test_a_description_has_shapes_parameters_flops_and_memory() -> None:
    text = describe("S", PRESETS["S"], 44_349, FLOAT32, 1_434_299)
    assert "tokens: CLS and K genes           (B, 2,049, 384)" in text
    assert "56.70M" in text
    total = 186_800 * 1536 * training_flops_per_sample(PRESETS["S"], 44_349) / 1e18
    assert f"{total:.4g} EFLOP, 186,800 steps" in text
    assert "activations of 1,536 samples     " in text
    assert "GiB available on cpu" in text


def test_describe_takes_a_preset_a_json_and_a_corpus(tiny_corpus, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    assert main(["train", "--describe", "L", "--device", "cpu"]) == 0
    assert "402.64M" in capsys.readouterr().out
    model = '{"preset": "nano", "n_visible_genes": 12, "epochs": 2, "batch_size_samples": 12}'
    options = ["--corpus", str(tiny_corpus.folder), "--variant", "tiny", "--device", "cpu"]
    assert main(["train", "--describe", model, *options]) == 0
    output = capsys.readouterr().out
    assert "at 56 genes" in output
    assert "22 steps" in output
    assert main(["train", "--describe", "XL"]) == 2
    capsys.readouterr()
    assert main(["train", "--describe", "nano", *options]) == 2
    assert "fewer than the vocabulary's 56 genes" in capsys.readouterr().err
    assert main(["train", "--describe", "S", "--genes", "2048"]) == 2
    assert main(["train", "--describe", "S", "--genes", "2049", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA A100-SXM4-80GB", 311.9),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.1),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_the_peak_of_a_gpu_is_found_by_its_name(name: str, tera: float | None) -> None:
    assert peak_of(name) == (None if tera is None else tera * 1e12)


def test_mfu_is_the_share_of_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.0, 104.0])
    monkeypatch.setattr("txfm.training.throughput.time.perf_counter", lambda: next(clock))
    stopwatch = Stopwatch(flops_per_sample=5e9, tokens_per_sample=256, peak_flops=1e12)
    stopwatch.count(100)
    stopwatch.count(100)
    speed = stopwatch.lap(steps_left=6)
    assert (speed.samples_per_s, speed.tokens_per_s, speed.mfu, speed.seconds_left) == (50, 12_800, 0.25, 12)
