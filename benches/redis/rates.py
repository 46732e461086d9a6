"""Owns the rates: redis-benchmark against both servers in turn, with the server's CPU for each operation. Each cell is the median of the rounds;
the order of the servers alternates from round to round."""

import csv
import io
import statistics
import subprocess

PAIRS = [("everysec", "buffer"), ("always", "device")]
SIZES = [100, 1024]
PIPELINES = [1, 16]
KEYS = 20_000
CLIENTS = 50
# More than the last version of each key needs: every GET is served from RAM.
CACHE = "1GiB"


def operations(test, pipeline, fsync, scale):
    """How many operations one cell takes: some seconds' worth."""
    count = 1_000_000 if pipeline > 1 else 250_000
    if test == "set" and fsync == "always":
        count //= 4
    return max(int(count * scale), 5000)


def measure(server, test, size, pipeline, count, keys=KEYS):
    """Rate, and microseconds of the server's CPU for an operation."""
    command = ["redis-benchmark", "-p", str(server.port), "-t", test, "-d", str(size), "-c", str(CLIENTS)]
    command += ["-P", str(pipeline), "-n", str(count), "-r", str(keys), "--csv"]
    before = server.cpu()
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu = server.cpu() - before
    if "rror" in out.stdout + out.stderr.replace("WARNING: Could not fetch server CONFIG", ""):
        raise SystemExit(f"{' '.join(command)}: {out.stdout}{out.stderr}")
    rows = list(csv.reader(io.StringIO(out.stdout)))
    return float(rows[-1][1]), cpu / count * 1e6


def run(make, rounds, scale):
    """Prints a table for each pair of durabilities."""
    results = []
    for fsync, durability in PAIRS:
        cells = {}
        for turn in range(rounds):
            both = [("redis", lambda: make.redis(fsync)), ("cairn", lambda: make.cairn(durability, cache=CACHE))]
            for name, start in both if turn % 2 == 0 else reversed(both):
                with start() as server:
                    for size in SIZES:
                        # Untimed: every key has a value of this size.
                        measure(server, "set", size, 16, KEYS * 12)
                        for pipeline in PIPELINES:
                            for test in ("set", "get"):
                                count = operations(test, pipeline, fsync, scale)
                                cell = (test, size, pipeline, name)
                                cells.setdefault(cell, []).append(measure(server, test, size, pipeline, count))
        print(f"\n### appendfsync {fsync}, durability {durability}: reads from RAM\n")
        results += table(cells, rounds)
    return results + from_device(make, rounds, scale)


def from_device(make, rounds, scale):
    """Reads that find nothing in RAM: beside the others, since Redis has no such thing."""
    keys = int(1_000_000 * max(scale, 0.1))
    cells = {}
    for turn in range(rounds):
        both = [("redis", lambda: make.redis("everysec")), ("cairn", lambda: make.cairn("buffer", cache="0"))]
        for name, start in both if turn % 2 == 0 else reversed(both):
            with start() as server:
                for size in SIZES:
                    measure(server, "set", size, 16, keys * 3, keys)
                    for pipeline in PIPELINES:
                        count = operations("get", pipeline, "everysec", scale)
                        cell = ("get", size, pipeline, name)
                        cells.setdefault(cell, []).append(measure(server, "get", size, pipeline, count, keys))
    print(f"\n### reads from the device ({keys} keys, no post-write cache), Redis reads RAM\n")
    return table(cells, rounds)


def table(cells, rounds):
    print("| command | bytes | pipeline | Redis /s | Cairn /s | ratio | Redis CPU us | Cairn CPU us | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    for test, size, pipeline in sorted({cell[:3] for cell in cells}, key=lambda c: (c[1], c[2], c[0] != "set")):
        def median(name, part):
            return statistics.median(both[part] for both in cells[test, size, pipeline, name])
        rate, cpu = ([median(name, part) for name in ("redis", "cairn")] for part in (0, 1))
        shares = rate[1] / rate[0], cpu[1] / cpu[0] if cpu[0] else float("nan")
        print(
            f"| {test.upper()} | {size} | {pipeline} | {rate[0]:.0f} | {rate[1]:.0f} | {shares[0]:.2f} "
            f"| {cpu[0]:.2f} | {cpu[1]:.2f} | {shares[1]:.2f} |",
            flush=True,
        )
        rows.append([test, size, pipeline, *rate, shares[0], *cpu, shares[1]])
    print(f"\nmedians of {rounds}, {CLIENTS} connections")
    return rows
