#!/usr/bin/env python3
"""Cairn's Redis door against redis-server: the same machine, the same tool (redis-benchmark), the same run.

Prints rates and the server's CPU for each operation with their ratios, memory for small values, and memory of idle connections. Needs
redis-server and redis-benchmark, and a release build of cairn; no Python package.
"""

import argparse
import json
import shutil
import subprocess

import memory
import rates
from servers import Maker


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cairn", default="target/release/cairn", help="the binary (target/release/cairn)")
    parser.add_argument("--dir", default=".", help="where both servers keep their files: the disk that counts")
    parser.add_argument("--only", default="rates,values,idle", help="which parts, of rates, values, idle")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the rates; each cell is their median")
    parser.add_argument("--scale", type=float, default=1.0, help="operations of a round, as a share of the usual")
    parser.add_argument("--values", type=int, default=10_000_000, help="how many values of 100 bytes")
    parser.add_argument("--connections", type=int, default=10_000, help="how many idle connections")
    parser.add_argument("--json", help="writes the figures here, too")
    return parser.parse_args()


def main():
    chosen = options()
    for program in ("redis-server", "redis-benchmark", chosen.cairn):
        if not shutil.which(program):
            raise SystemExit(f"{program} is not there")
    version = subprocess.run(["redis-server", "--version"], check=True, capture_output=True, text=True)
    print(version.stdout.strip())
    make = Maker(chosen.dir, shutil.which(chosen.cairn))
    figures = {}
    parts = chosen.only.split(",")
    if "rates" in parts:
        figures["rates"] = rates.run(make, chosen.rounds, chosen.scale)
    if "values" in parts:
        figures["bytes a value"] = memory.values(make, chosen.values)
    if "idle" in parts:
        figures["idle connections"] = memory.idle(make, chosen.connections)
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as out:
            json.dump(figures, out, indent=2)


main()
