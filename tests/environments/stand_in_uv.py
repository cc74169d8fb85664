"""A stand-in for uv: notes what it is asked, and does what the file ``orders.json`` beside it says, or well.

An order is for one command (``compile``, ``venv``, ``sync``, ``find``, ``install``)::

    {"sync": {"say": "what goes to standard error", "exit": 2, "sleep": 3}}
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

HERE = Path(sys.argv[0]).parent


def main() -> int:
    words = sys.argv[1:]
    command = words[0] if words[0] == "venv" else words[1]
    given = sys.stdin.read()
    orders_file = HERE / "orders.json"
    orders = json.loads(orders_file.read_text()) if orders_file.exists() else {}
    order = orders.get(command, {})
    note = {"command": command, "words": words, "given": given, "cwd": str(Path.cwd()), "pid": os.getpid()}
    with (HERE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(note) + "\n")
    if command == "venv":
        place = Path(words[-1])
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").symlink_to(order.get("python", sys.executable))
        (place / "pyvenv.cfg").write_text("version_info = 3.11.99\n")
    if "say" in order:
        sys.stderr.write(order["say"] + "\n")
        sys.stderr.flush()
    time.sleep(order.get("sleep", 0))
    if "exit" in order:
        return int(order["exit"])
    if command == "compile":
        version = order.get("version", "1.0")
        for line in given.splitlines():
            name, _, pinned = line.partition("==")
            lock = f"{name}=={pinned or version} \\\n    --hash=sha256:{'0' * 64}"
            sys.stdout.write((line if " @ " in line else lock) + "\n")
    if command == "find":
        sys.stdout.write(sys.executable + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
