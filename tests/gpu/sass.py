"""The disassembler from PyPI: what instructions a GPU gets, of each kernel and of its main loop."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = "nvidia-cuda-nvdisasm"
LABEL = re.compile(r"(\.L_x_\d+):")
INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(.*?)\s*;")
BRANCH = re.compile(r"BRA\b.*`\((\.L_x_\d+)\)")


def _path() -> str | None:
    try:
        found = [file.locate() for file in metadata.files(PACKAGE) or [] if file.name == "nvdisasm"]
    except metadata.PackageNotFoundError:
        return None
    return str(found[0]) if found else None


PATH = _path()


@dataclass(frozen=True, slots=True)
class Kernel:
    """The instructions of a kernel, and its loops: from where to where they go (exclusive).

    A loop is what lies between a branch and its target before it.
    """

    instructions: tuple[str, ...]
    loops: tuple[range, ...]

    def number(self, what: Callable[[str], bool]) -> int:
        """Return how many instructions are of a kind."""
        return sum(map(what, self.instructions))

    def main_loop(self) -> Kernel | None:
        """Return the loop that adds with the fewest instructions an addition: of those that add, that which most terms take.

        Others are for terms that are left over, or that not all of a thread's outputs have.
        """
        found = [Kernel(self.instructions[loop.start : loop.stop], ()) for loop in self.loops]
        adding = [loop for loop in found if loop.number(adds)]
        return min(adding, key=lambda loop: len(loop.instructions) / loop.number(adds), default=None)


def adds(instruction: str) -> bool:
    """Whether an instruction adds float32 numbers."""
    return instruction.startswith("FADD")


def loads_shared(instruction: str) -> bool:
    """Whether it reads shared memory."""
    return instruction.startswith("LDS")


def loads_global(instruction: str) -> bool:
    """Whether it reads the device's memory."""
    return re.match(r"LDG?\b", instruction) is not None


def fuses(instruction: str) -> bool:
    """Whether it multiplies float32 numbers and adds to the unrounded product.

    No product is made where a factor is RZ, the register that is zero: so a division of doubles looks at a magnitude.
    """
    factors = re.match(r"FFMA\S* \S+, (\S+), (\S+),", instruction)
    return factors is not None and "RZ" not in factors.groups()


def flushes(instruction: str) -> bool:
    """Whether it takes denormal numbers for zero, or makes them zero."""
    return ".FTZ" in instruction.partition(" ")[0]


def is_local(instruction: str) -> bool:
    """Whether it reads or writes memory of a thread's own: what does not fit into registers, or arrays with unknown places."""
    return re.match(r"(LDL|STL)\b", instruction) is not None


@cache
def kernels(code: bytes) -> dict[str, Kernel]:
    """Return each kernel of some machine code, by its name."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "kernels.cubin")
        path.write_bytes(code)
        text = subprocess.run([str(PATH), "-c", path], capture_output=True, text=True, check=True).stdout
    parts = re.split(r"^\s*\.section\s+\.text\.(\w+),.*$", text, flags=re.MULTILINE)
    return {name: _kernel(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _kernel(text: str) -> Kernel:
    labels, instructions, loops = dict[str, int](), list[str](), list[range]()
    for line in text.splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = len(instructions)
        elif found := INSTRUCTION.match(line):
            instructions.append(found[1])
            branch = BRANCH.match(found[1])
            if branch and branch[1] in labels:  # those that come later are no loops
                loops.append(range(labels[branch[1]], len(instructions)))
    return Kernel(tuple(instructions), tuple(loops))
