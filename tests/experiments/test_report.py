"""The report: whole without a network, on a desk and on a phone, with every experiment that has records."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.config.resolve import ConfigError
from experiments.report import write
from experiments.report.claims import CLAIMS
from experiments.report.collect import newest_runs
from experiments.run.environment import environment
from sparsednn.system.json_fields import to_json
from tests.experiments.made_up import made_up, write_all
from tests.experiments.toys import COMPILED_ONLY, EXPERIMENTS, chromium, python, run

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
NEEDS_CHROMIUM = pytest.mark.chromium

pytestmark = COMPILED_ONLY  # roofline is among the experiments


@pytest.fixture(scope="module")
def report(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    done = run("experiment=report", f"experiment.report=[{smoke}]", "experiment.toy=true", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert f"report: {folder}/report.html" in done.stdout
    return folder / "report.html"


def test_it_has_all_figures_and_claims_and_needs_nothing_else(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    for name in EXPERIMENTS:
        assert f'<h2 id="{name}">' in text
        assert f"python run.py experiment={name} experiment.toy=true" in text
    own = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert own.count('src="data:image/png;base64,') == len(EXPERIMENTS)
    assert own.count('<tr class="claim">') == len(CLAIMS)
    assert text.count('<span class="verdict untested">') == 1, "the published run, which no toy is"
    assert "Toy size:" in text
    assert own.count("toy size, no measurement:</span>") == own.count("toy size, does not count:</span>") == len(CLAIMS)
    assert own.count("(toy size, no measurement)</span></h2>") == len(EXPERIMENTS) + 1, "the timeline too"
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", own)
    assert "@import" not in own


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield opened
        opened.close()


@NEEDS_CHROMIUM
@pytest.mark.parametrize("width", [1280, 390], ids=["desk", "phone"])
def test_it_opens_in_a_browser_without_a_network(report: Path, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    errors, requests = list[str](), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector("#timeline .bars")
    assert errors == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing but figures scrolls sideways"
    assert page.locator("#claims-table tr.claim").count() == len(CLAIMS)
    images = page.locator(".figure img")
    assert all(images.nth(n).evaluate("image => image.complete && image.naturalWidth > 300") for n in range(images.count()))
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('p, td, li, pre')].map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12, "readable"
    page.close()


@NEEDS_CHROMIUM
def test_the_timeline_shows_the_run_that_is_chosen_and_what_a_bar_is(report: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(report.as_uri())
    page.wait_for_selector("#timeline .bars")
    workers = "document.querySelector('#timeline')._fullLayout.yaxis._categories.length"
    shown = "document.querySelector('#timeline')._fullData.filter(t => t.visible === true).flatMap(t => t.text).join(' ')"
    assert page.evaluate(workers) >= 1
    assert "row group" in page.evaluate(shown)
    for name, has_teams in (("data_then_model, simulated", True), ("data, simulated", False)):  # threads may need no team
        page.locator("#timeline .updatemenu-header").click()
        page.locator("#timeline .updatemenu-dropdown-button").filter(has_text=name).click()
        assert ("working in a team" in page.evaluate(shown)) == has_teams
    page.close()


def test_the_newest_run_of_each_experiment_is_taken(tmp_path: Path) -> None:
    for name, seconds in (("old", 1.0), ("new", 2.0)):
        write_all(tmp_path / name, [made_up("cumulative", "paper", [seconds])])
    for path in (tmp_path / "old").rglob("*"):
        os.utime(path, (1e9, 1e9))
    toys = [made_up("cumulative", "paper", [3.0])]
    toys[0]["experiment"] |= {"toy": True}
    write_all(tmp_path / "toys", toys)
    found, problems = newest_runs([tmp_path], toy=False)
    assert found["ablation"].points.points[0].median_s == 2.0
    assert (found["ablation"].n_others, problems) == (1, [])
    at_toy_size, _ = newest_runs([tmp_path], toy=True)
    assert at_toy_size["ablation"].points.points[0].median_s == 3.0


def test_what_a_report_leaves_out_is_named_in_it_and_on_the_console(tmp_path: Path) -> None:
    write_all(tmp_path / "records" / "good", [made_up("cumulative", "paper", environment=to_json(environment()))])
    toys = [made_up("layers", "a", figure="linear_cost")]
    toys[0]["experiment"] |= {"toy": True}
    write_all(tmp_path / "records" / "toys", toys)
    (tmp_path / "records" / "result.json").write_text("[]")
    said = list[str]()
    path, problems = write([tmp_path / "records"], tmp_path, toy=False, say=said.append)
    assert problems == []
    assert said == [
        f"left out: {tmp_path}/records/result.json: not a record, which is a mapping of names to values",
        "left out: records at toy size, which are no measurements (experiment.toy=true takes them): linear_cost",
    ]
    text = path.read_text(encoding="utf-8")
    assert all(line in text for line in said)
    assert '<h2 id="ablation">' in text
    assert '<h2 id="linear_cost">' not in text
    assert "toy-mark" not in text.partition("</style>")[2]


def test_an_experiment_that_failed_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    write_all(tmp_path / "good", [made_up("cumulative", "paper")])
    bad = made_up("layers", "a", figure="linear_cost", status="failed", error="too little memory")
    write_all(tmp_path / "bad", [bad])
    found, problems = newest_runs([tmp_path], toy=False)
    assert list(found) == ["ablation"]
    assert problems == [f"{tmp_path / 'bad'}: all 1 points failed; there is nothing to draw"]


def test_without_records_of_experiments_it_says_how_to_make_some(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "result.json").write_text('{"status": "complete"}')
    with pytest.raises(ConfigError, match=r"no records of an experiment at full size .*python run.py experiment=NAME"):
        write([tmp_path], tmp_path, toy=False)
    assert not (tmp_path / "report.html").exists()
    done = python("run.py", "experiment=report", f"experiment.report=[{tmp_path}]", f"hydra.run.dir={tmp_path}/r")
    assert (done.returncode, done.stderr.count("error:")) == (1, 1)
