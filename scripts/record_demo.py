"""Run the demo and draw what it prints as docs/demo.svg.

python scripts/record_demo.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent


def main() -> None:
    command = [sys.executable, str(ROOT / "examples" / "demo.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    console = Console(record=True, width=96, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(Text.assemble(("$ ", "bold green"), ("make demo", "bold")))
    console.print(Text(done.stdout.rstrip()))
    svg = console.export_svg(title="videollama2")
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg)  # nothing is fetched to show the picture
    (ROOT / "docs" / "demo.svg").write_text(svg)


if __name__ == "__main__":
    main()
