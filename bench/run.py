"""Starts `bench.measure` from wherever it is called: `python bench/run.py [--quick]`."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    runpy.run_module("bench.measure", run_name="__main__")
