"""Print the Python that a virtual environment is to be made with, and say why on stderr.

Of one version there may be several on a machine, and one that was compiled without the
compiler's profile (`configure --enable-optimizations`), as pyenv does by default, takes about
twice as long for a loop over small objects as a distribution's. So each is timed. The one that
runs this stays unless another of its version is clearly faster.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

FOLDERS = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
"""Looked at beside those of PATH."""
CLEARLY = 1.15
"""Times as fast as the one at hand."""
PROBE = """
import ensurepip, json, ssl, sys, sysconfig, time, venv
class Point:
    __slots__ = ("x",)
    def __init__(self, x):
        self.x = x
    def next(self):
        return self.x + 1
def work():
    held, total = {}, 0
    for i in range(40_000):
        held[i & 255] = i, str(i)
        total += len(held[i & 255][1]) + Point(i).next()
    return total
times = []
for _ in range(7):
    began = time.perf_counter()
    work()
    times.append(time.perf_counter() - began)
has_lock = not sysconfig.get_config_var("Py_GIL_DISABLED")
print(json.dumps([sys.executable, list(sys.version_info[:2]), has_lock, min(times)]))
"""
"""A program of small objects, as this project's are."""


def candidates(version: tuple[int, int]) -> list[str]:
    """Programs that may be a Python of this version, each once."""
    name = f"python{version[0]}.{version[1]}"
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *FOLDERS]
    found = (Path(folder, each) for folder in folders for each in ("python3", name))
    return [*dict.fromkeys(str(p.resolve()) for p in found if os.access(p, os.X_OK))]


def probe(program: str, version: tuple[int, int]) -> tuple[str, float] | None:
    """Where it really is and how long the work takes it [s]; None where it does not serve."""
    try:
        said = subprocess.run(
            [program, "-I", "-c", PROBE], capture_output=True, text=True, timeout=20, check=True
        )
        executable, its_version, has_lock, seconds = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if not has_lock or tuple(its_version) != version:
        return None
    return os.path.realpath(executable), seconds


def choose(own: str, seconds: dict[str, float]) -> str:
    """The one at hand, or the fastest if it is clearly faster."""
    fastest = min(seconds, key=lambda each: seconds[each], default=own)
    if own in seconds and seconds[own] < CLEARLY * seconds[fastest]:
        return own
    return fastest


def main() -> None:
    """Look, and print."""
    version = sys.version_info[:2]
    own = os.path.realpath(sys.executable)
    probed = [probe(program, version) for program in dict.fromkeys([own, *candidates(version)])]
    seconds = dict(filter(None, probed))
    chosen = choose(own, seconds)
    if chosen != own:
        gain = f"{seconds[own] / seconds[chosen]:.1f} times as fast as" if own in seconds else "for"
        sys.stderr.write(
            f"using {chosen}, {gain} {own}; with PYTHON=... make takes the one you name\n"
        )
    sys.stdout.write(f"{chosen}\n")


if __name__ == "__main__":
    main()
