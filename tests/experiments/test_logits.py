"""run.py compares the last activations of a model with those that another program has computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.experiments.test_models import digits, expected_logits, record, run


def test_logits_that_differ_fail_a_run_and_those_that_agree_do_not(tmp_path: Path) -> None:
    """An accuracy does not see a wrong bias; logits do."""
    logits = expected_logits("mlp_80")[:100]
    largest = float(np.abs(logits).max())
    np.save(tmp_path / "right.npy", logits)
    logits[41, 3] += 1e-3 * largest
    np.savez(tmp_path / "wrong.npz", logits=logits)
    more = [*digits("mlp_80"), "instances=100"]
    done = run(*more, f"input.logits={tmp_path}/right.npy", f"hydra.run.dir={tmp_path}/right")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 of 100 instances have the logits that are given: as given" in done.stdout
    assert "of the instances are classified right" in done.stdout
    truth = record(tmp_path / "right")["truth"]
    assert (truth["kind"], truth["match"], truth["correct"], truth["of"]) == ("logits", True, 100, 100)
    assert 0 < truth["difference"] < 1e-6
    done = run(*more, f"input.logits={tmp_path}/wrong.npz", f"hydra.run.dir={tmp_path}/wrong")
    assert done.returncode == 1
    assert "1 of 100 instances have other last activations than input.logits, by up to 1.0e-03 of the largest" in done.stderr
    truth = record(tmp_path / "wrong")["truth"]
    assert (truth["match"], truth["correct"], truth["difference"]) == (False, 99, pytest.approx(1e-3, rel=1e-3))
