"""The benchmark runs its variants in turn and reports what it has run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import kernel_rates


def test_every_variant_is_run_as_often_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = (("reference", 20, {"backend": "scipy_reference"}), ("csr", 30, {"kernel": "csr"}))
    monkeypatch.setattr(kernel_rates, "VARIANTS", small)
    monkeypatch.setattr(kernel_rates, "RATIOS", (("reference", "csr"),))
    assert kernel_rates.main(["--rounds", "2", "--json", str(tmp_path / "rates.json")]) == 0
    written = json.loads((tmp_path / "rates.json").read_text())["variants"]
    assert [(v["name"], v["instances"], len(v["seconds"])) for v in written] == [("reference", 20, 2), ("csr", 30, 2)]
    assert [v["record"]["kernel"] for v in written] == ["csr_csr", "csr_csr"]


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--json", "/nowhere/rates.json"]], ids=["no rounds", "no folder"])
def test_what_cannot_be_done_is_refused_before_anything_is_run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        kernel_rates.main(arguments)
    assert caught.value.code == 2
