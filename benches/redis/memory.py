"""Owns the memory: what values cost in RAM, and what connections cost that only wait."""

import resource
import statistics
import threading
import time

from servers import ask

VALUE = 100
CHUNK = 10_000


def values(make, count):
    """Prints the resident memory that `count` values of 100 bytes take."""
    size = f"{max(count * 256 * 2 // 2**30, 1) + 1}GiB"
    print(f"\n### memory of {count} values of {VALUE} bytes\n")
    print("| server | before, MiB | after, MiB | bytes a value |")
    print("|---|---|---|---|")
    each = {}
    for name, start in (("Redis", lambda: make.redis("everysec")), ("Cairn", lambda: make.cairn("buffer", size=size))):
        with start() as server:
            before = server.resident()
            load(server, count)
            after = settled(server)
            each[name] = after / count
            print(f"| {name} | {before / 2**20:.1f} | {after / 2**20:.1f} | {each[name]:.1f} |", flush=True)
    print(f"\nall of Cairn's memory is {each['Cairn'] / each['Redis']:.3f} of Redis's; at most 0.2 is the goal")
    return each


def load(server, count):
    """Sets `count` keys, pipelined; every reply must be OK."""
    value = b"%d\r\n%b" % (VALUE, b"v" * VALUE)
    with server.connect() as link:
        wrong = []
        reader = threading.Thread(target=read_all, args=(link, count * 5, wrong))
        reader.start()
        for start in range(0, count, CHUNK):
            numbers = range(start, min(start + CHUNK, count))
            link.sendall(b"".join(b"*3\r\n$3\r\nSET\r\n$12\r\nkey:%08d\r\n$%b\r\n" % (n, value) for n in numbers))
        reader.join()
        if wrong:
            raise SystemExit(f"SET answered {wrong[0]!r}")
        if ask(link, b"DBSIZE") != b":%d\r\n" % count:
            raise SystemExit("not every key is there")


def read_all(link, expected, wrong):
    while expected > 0:
        piece = link.recv(1 << 20)
        expected -= len(piece)
        if not piece or (b"-" in piece and not wrong):
            wrong.append(piece[:200])
            if not piece:
                return


def settled(server):
    """The resident memory once it stays within one per cent for a second, or after twenty."""
    found = server.resident()
    for _ in range(20):
        time.sleep(1)
        now = server.resident()
        if abs(now - found) < found / 100:
            return now
        found = now
    return found


def idle(make, count):
    """Prints what `count` connections cost that have said PING and wait, and how the next client is served."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if limit < count + 200:
        raise SystemExit(f"{count} connections need a limit of {count + 200} open files; it is {limit} (ulimit -Hn)")
    print(f"\n### {count} idle connections\n")
    print("| server | memory, MiB | bytes a connection | GET before, us | GET beside them, us |")
    print("|---|---|---|---|---|")
    found = {}
    for name, start in (("Redis", lambda: make.redis("everysec")), ("Cairn", lambda: make.cairn("buffer"))):
        with start() as server:
            first = server.connect()
            ask(first, b"SET", b"key", b"value")
            alone, before = latency(server), server.resident()
            links = [server.connect() for _ in range(count)]
            for link in links:
                if not ask(link, b"PING").startswith(b"+PONG"):
                    raise SystemExit("a connection is not served")
            cost, beside = server.resident() - before, latency(server)
            found[name] = cost
            print(f"| {name} | {cost / 2**20:.1f} | {cost / count:.0f} | {alone:.0f} | {beside:.0f} |", flush=True)
            for link in [first, *links]:
                link.close()
    print("\nless than 200 MB in all is the goal")
    return found


def latency(server):
    """Microseconds of a GET on a new connection, the median of 2000."""
    times = []
    with server.connect() as link:
        for _ in range(2000):
            start = time.perf_counter()
            ask(link, b"GET", b"key")
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6
