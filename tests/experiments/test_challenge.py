"""The published categories, at full size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.data.truth import challenge_categories
from sparsednn.results.result import categories_sha256

PUBLISHED_SHA256 = "a006e26755ca317ecf629035972137457705f20e3139b7796a2f9e9d58c8f4e1"


def test_the_main_job_finds_the_published_categories(
    challenge_network: sparsednn.Network, challenge_rows: sp.csr_array
) -> None:
    result = sparsednn.infer(challenge_network, challenge_rows)
    assert len(result.categories) == 1812
    assert categories_sha256(result.categories) == PUBLISHED_SHA256
    assert result.record["categories_sha256"] == PUBLISHED_SHA256


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kernel", ["udc_udc", "csc_csc", "csr_csr"])
def test_other_kernels_find_them_too(kernel: str, challenge_network: sparsednn.Network, challenge_rows: sp.csr_array) -> None:
    result = sparsednn.infer(challenge_network, challenge_rows, kernel=kernel)
    assert categories_sha256(result.categories) == PUBLISHED_SHA256


@pytest.mark.parametrize("scheduler", ["model", "data_then_model", "manager_worker", "work_stealing"])
@pytest.mark.parametrize("hashing", ["none", "both"])
def test_every_scheduler_finds_them(
    scheduler: str, hashing: str, challenge_network: sparsednn.Network, challenge_rows: sp.csr_array
) -> None:
    result = sparsednn.infer(challenge_network, challenge_rows, scheduler=scheduler, hashing=hashing)
    assert categories_sha256(result.categories) == PUBLISHED_SHA256


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("neurons", "layers", "count"),
    [
        pytest.param(1024, 480, 1812, id="1024 x 480: as many as with 120 layers"),
        pytest.param(1024, 1920, 1812, id="1024 x 1920: as many as with 120 layers"),
        pytest.param(4096, 120, 1801, id="4096 x 120: our own count"),
        pytest.param(16384, 120, 1918, id="16384 x 120: the published count"),
    ],
)
def test_deeper_and_wider_networks_find_theirs(neurons: int, layers: int, count: int) -> None:
    result = sparsednn.infer(sparsednn.radixnet(neurons, layers), sparsednn.challenge_inputs(neurons))
    assert len(result.categories) == count
    assert result.categories.tolist() == challenge_categories(neurons).tolist()


def test_the_main_job_stays_under_two_gigabytes(tmp_path: Path) -> None:
    """With the data and the kernels cached; in a process of its own, so that its peak is its own."""
    script = "import sparsednn; from sparsednn.system.memory import peak_rss_bytes; "
    script += "sparsednn.infer(sparsednn.radixnet(1024, 120), sparsednn.challenge_inputs(1024)); print(peak_rss_bytes())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=dict(os.environ), capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert 0 < int(done.stdout) < 2e9
