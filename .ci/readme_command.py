"""Print one of the README's commands, so that what is tested is what is written: ``python .ci/readme_command.py tests``.

The command is the first shell block after the line ``<!-- command: NAME -->``.
"""

import re
import sys
from pathlib import Path

name = sys.argv[1]
readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
found = re.search(rf"<!-- command: {re.escape(name)} -->\s*```(?:bash|sh)\n(.*?)```", readme, re.DOTALL)
if found is None:
    sys.exit(f"README.md has no shell block after <!-- command: {name} -->")
print(found[1].strip())
