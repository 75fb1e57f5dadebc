"""Describes where a result was measured: code revision, package versions and machine."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

from experiments.records.point import Environment
from sparsednn.system.control_groups import cpu_quota
from sparsednn.system.memory import machine_bytes

PACKAGES = ("sparsednn", "numpy", "scipy", "numba", "llvmlite", "hydra-core", "omegaconf")
CHANGED = "+changes"
"""Ends the revision of code that differs from it."""

CODE = (":/sparsednn", ":/backends", ":/experiments")
"""Where a file that git does not know yet is code all the same."""


GIT_S = 10.0
"""How long git may take."""


@functools.cache
def environment() -> Environment:
    """Return git revision ("+changes" if files differ from it), versions, machine and the id of the Slurm job.

    Of cores there are three numbers: those of the machine, those that this process may run on, and those whose time its control
    groups may spend (a fraction; None without a quota).
    """
    return Environment(
        git_revision=_git_revision(),
        versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        host=socket.gethostname(),
        system=f"{platform.system()} {platform.release()}",
        cpu=_cpu(),
        cores=os.cpu_count(),
        cores_usable=len(os.sched_getaffinity(0)),
        cores_quota=cpu_quota(),
        memory_bytes=machine_bytes(),
        slurm_job_id=os.environ.get("SLURM_JOB_ID"),
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    folder = Path(__file__).parent
    questions = (
        ("rev-parse", "HEAD"),
        ("status", "--porcelain", "--untracked-files=no"),
        ("ls-files", "--others", "--exclude-standard", *CODE),
    )
    with ExitStack() as stack:
        try:
            asked = [_asked_git(stack, folder, *question) for question in questions]
            revision, *changes = [_answer_of(git) for git in asked]
        except (OSError, subprocess.SubprocessError):
            return None
    return f"{revision}{CHANGED}" if any(changes) else revision


def _asked_git(stack: ExitStack, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start git, which is killed when the stack is left unless it has ended.

    Several answer at once, without threads: these could not be started for a record that says that memory is short.
    """
    command = ["git", "-C", str(folder), *arguments]
    git = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
    stack.callback(git.kill)
    return git


def _answer_of(git: subprocess.Popen[str]) -> str:
    """Return what git says; raise SubprocessError if it fails or takes too long."""
    said, _ = git.communicate(timeout=GIT_S)
    if git.returncode != 0:
        raise subprocess.CalledProcessError(git.returncode, git.args)
    return said.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
