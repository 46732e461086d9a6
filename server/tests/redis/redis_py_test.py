"""redis-py against a running node: every command of commands.txt, in RESP2 and in RESP3, with what each must answer.

Usage: redis_py_test.py HOST:PORT [--redis-7.0]. With --redis-7.0 the server is a Redis that does not know the newest commands yet: that
is how this script is checked itself. It empties all databases. Prints "N passed, M failed"; exits non-zero on any failure.
"""

import pathlib
import sys
import threading
import time
import traceback
import warnings

import redis
from redis.connection import Connection

HERE = pathlib.Path(__file__).parent
NEWER = {"CLIENT|SETINFO", "CLIENT|NO-TOUCH", "WAITAOF"}
used = set()


class Noting(Connection):
    """A connection that notes which commands were sent."""

    def send_command(self, *args, **kwargs):
        note(args)
        super().send_command(*args, **kwargs)

    def pack_commands(self, commands):
        commands = list(commands)
        for args in commands:
            note(args)
        return super().pack_commands(commands)


def note(args):
    words = " ".join(a.decode(errors="replace") if isinstance(a, bytes) else str(a) for a in args[:2]).upper().split(" ")
    used.add(words[0])
    used.add("|".join(words[:2]))


class Case:
    """What a test has at hand: a client, the protocol, and how to make another client."""

    def __init__(self, host, port, protocol):
        self.host, self.port, self.protocol = host, port, protocol
        self.r = self.client()

    def client(self, single=False, **options):
        pool = redis.ConnectionPool(
            connection_class=Noting, host=self.host, port=self.port, protocol=self.protocol, socket_timeout=20, **options
        )
        return redis.Redis(connection_pool=pool, single_connection_client=single)


def same(found, expected):
    if found != expected or type(found) is not type(expected):
        raise AssertionError(f"{found!r} instead of {expected!r}")


def true(condition, what=""):
    if not condition:
        raise AssertionError(what or "not true")


def refused(call, text):
    try:
        found = call()
    except (redis.ResponseError, redis.AuthenticationError) as error:
        true(text in str(error), f"refused with {error!s}, not {text!r}")
    else:
        raise AssertionError(f"{found!r} instead of an error")


def connection(c):
    r = c.client(single=True)
    same(r.ping(), True)
    same(r.echo(b"\x00\r\n"), b"\x00\r\n")
    hello = r.execute_command("HELLO", c.protocol)
    hello = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2]))
    fields = {(k.decode() if isinstance(k, bytes) else k): v for k, v in hello.items()}
    same(fields["proto"], c.protocol)
    same(fields["role"] in (b"master", "master"), True)
    refused(lambda: r.execute_command("AUTH", "nobody", "wrong"), "invalid username-password pair")
    same(r.select(3), True)
    same(r.set("only here", 1), True)
    same(r.dbsize(), 1)
    same(r.select(0), True)
    same(r.exists("only here"), 0)
    same(r.execute_command("SWAPDB", 0, 3), True)
    same(r.get("only here"), b"1")
    same(r.execute_command("SWAPDB", 0, 3), True)
    refused(lambda: r.select(99), "out of range")
    refused(lambda: r.execute_command("NOTHING", "a"), "unknown command 'NOTHING', with args beginning with: 'a'")
    true(r.execute_command("RESET") in (b"RESET", "RESET"))
    true(r.execute_command("QUIT") in (b"OK", True))


def client_commands(c):
    r = c.client(single=True)
    true(r.client_id() > 0)
    same(r.client_setname("tester"), True)
    true(r.client_getname() in ("tester", b"tester"))
    info = r.client_info()
    same(info["name"], "tester")
    same(int(info["id"]), r.client_id())
    same(info["resp"], str(c.protocol))
    true(any(each["name"] == "tester" for each in r.client_list()))
    same(len(r.client_list(client_id=[r.client_id()])), 1)
    same(r.execute_command("CLIENT NO-EVICT", "ON"), b"OK")
    same(r.execute_command("CLIENT NO-EVICT", "OFF"), b"OK")
    if not c.old:
        same(r.execute_command("CLIENT SETINFO", "LIB-NAME", "script"), True)
        same(r.client_info()["lib-name"], "script")
        true(r.execute_command("CLIENT NO-TOUCH", "ON") in (b"OK", True))
        true(r.execute_command("CLIENT NO-TOUCH", "OFF") in (b"OK", True))
    other = c.client(single=True)
    victim = other.client_id()
    same(r.client_kill_filter(_id=str(victim)), 1)
    other.connection.retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    silent = c.client(single=True)
    silent.connection.send_command("CLIENT", "REPLY", "OFF")
    silent.connection.send_command("SET", "said", "nothing")
    silent.connection.send_command("CLIENT", "REPLY", "ON")
    same(silent.connection.read_response(), b"OK")
    same(silent.get("said"), b"nothing")


def server_commands(c):
    r = c.r
    true(r.command_count() >= 75)
    described = r.execute_command("COMMAND INFO", "get", "mset", "nothing")
    if isinstance(described, dict):
        same(described["get"]["arity"], 2)
    else:
        same(described[0][1], 2)
    true(r.execute_command("COMMAND DOCS", "get"))
    true(any(name in (b"get", "get") for name in r.command_list()))
    true(r.config_get("maxmemory*"))
    true("maxmemory" in r.config_get("maxmemory"))
    same(r.config_set("slowlog-log-slower-than", 20000), True)
    same(r.config_get("slowlog-log-slower-than"), {"slowlog-log-slower-than": "20000"})
    same(r.config_set("slowlog-log-slower-than", 10000), True)
    same(r.config_resetstat(), True)
    info = r.info()
    for field in ("redis_version", "uptime_in_seconds", "connected_clients", "used_memory", "total_commands_processed", "role"):
        true(field in info, f"INFO has no {field}")
    r.set("counted", 1)
    true(r.info("keyspace")["db0"]["keys"] >= 1)
    seconds, _ = r.time()
    true(abs(seconds - time.time()) < 5)
    true(r.execute_command("LOLWUT"))
    true(isinstance(r.slowlog_get(), list))
    true(r.slowlog_len() >= 0)
    same(r.slowlog_reset(), True)
    same(r.latency_latest(), [])
    same(r.latency_history("command"), [])
    same(r.latency_reset(), 0)
    true(r.execute_command("LATENCY DOCTOR"))


def strings(c):
    r = c.r
    same(r.set("s", b"\x00\xff"), True)
    same(r.get("s"), b"\x00\xff")
    same(r.get("missing"), None)
    same(r.set("s", "new", nx=True), None)
    same(r.set("other", "new", xx=True), None)
    same(r.set("s", "second", get=True), b"\x00\xff")
    same(r.set("s", "third", ex=100), True)
    same(r.set("s", "fourth", keepttl=True), True)
    true(0 < r.ttl("s") <= 100)
    same(r.set("s", "fifth", px=100_000), True)
    same(r.set("s", "v", exat=4_102_444_800), True)
    same(r.set("s", "v", pxat=4_102_444_800_000), True)
    same(r.expiretime("s"), 4_102_444_800)
    same(r.getset("s", "x"), b"v")
    same(r.ttl("s"), -1)
    same(r.getex("s", ex=50), b"x")
    true(0 < r.ttl("s") <= 50)
    same(r.getex("s", persist=True), b"x")
    same(r.ttl("s"), -1)
    same(r.getdel("s"), b"x")
    same(r.exists("s"), 0)
    same(r.setex("s", 60, "x"), True)
    same(r.psetex("s", 60_000, "y"), True)
    same(r.setnx("s", "z"), False)
    same(r.setnx("t", "z"), True)
    same(r.mset({"m1": 1, "m2": 2}), True)
    same(r.mget("m1", "missing", "m2"), [b"1", None, b"2"])
    same(r.msetnx({"m2": 3, "m3": 3}), False)
    same(r.msetnx({"m3": 3, "m4": 4}), True)
    same(r.strlen("m1"), 1)
    same(r.append("m1", "23"), 3)
    same(r.incr("n"), 1)
    same(r.incrby("n", 41), 42)
    same(r.execute_command("DECR", "n"), 41)
    same(r.decrby("n", 1), 40)
    same(r.incrbyfloat("f", 10.5), 10.5)
    same(r.incrbyfloat("f", 0.1), 10.6)
    refused(lambda: r.incr("t"), "value is not an integer or out of range")
    r.set("edge", 2**63 - 1)
    refused(lambda: r.incr("edge"), "increment or decrement would overflow")
    r.set("range", "Hello World")
    same(r.getrange("range", 0, 4), b"Hello")
    same(r.getrange("range", -5, -1), b"World")
    same(r.substr("range", 0, 4), b"Hello")
    same(r.setrange("range", 6, "Redis"), 11)
    same(r.get("range"), b"Hello Redis")
    r.mset({"l1": "ohmytext", "l2": "mynewtext"})
    same(r.lcs("l1", "l2"), b"mytext")
    same(r.lcs("l1", "l2", len=True), 6)
    true(r.lcs("l1", "l2", idx=True, minmatchlen=4, withmatchlen=True))
    long = bytes(range(256)) * 2000
    same(r.set("long", long), True)
    same(r.get("long"), long)


def bits(c):
    r = c.r
    same(r.setbit("b", 7, 1), 0)
    same(r.getbit("b", 7), 1)
    same(r.getbit("b", 100), 0)
    r.set("b", "foobar")
    same(r.bitcount("b"), 26)
    same(r.bitcount("b", 1, 1), 6)
    same(r.bitcount("b", 5, 30, "BIT"), 17)
    same(r.bitpos("b", 1), 1)
    same(r.bitpos("b", 0, 2), 16)
    same(r.bitpos("b", 1, 7, 15, "BIT"), 9)
    r.mset({"b1": b"\xf0", "b2": b"\x3c"})
    same([r.bitop(op, "out", "b1", "b2") and r.get("out") for op in ("AND", "OR", "XOR")], [b"\x30", b"\xfc", b"\xcc"])
    same(r.bitop("NOT", "out", "b1") and r.get("out"), b"\x0f")
    field = r.bitfield("bf", default_overflow="SAT")
    same(field.set("u8", 0, 250).incrby("u8", 0, 100).get("u8", 0).execute(), [0, 255, 255])
    same(r.execute_command("BITFIELD", "bf", "OVERFLOW", "FAIL", "INCRBY", "u8", 0, 1), [None])
    same(r.execute_command("BITFIELD_RO", "bf", "GET", "u8", 0), [255])


def keys(c):
    r = c.r
    r.mset({"k1": 1, "k2": 2, "k3": 3})
    same(r.delete("k1", "k2", "missing"), 2)
    same(r.unlink("k3"), 1)
    r.mset({"k1": 1, "k2": 2})
    same(r.exists("k1", "k1", "missing"), 2)
    true(r.type("k1") in (b"string", "string"))
    true(r.type("missing") in (b"none", "none"))
    same(r.touch("k1", "missing"), 1)
    same(r.rename("k1", "k9"), True)
    refused(lambda: r.rename("missing", "x"), "no such key")
    same(r.renamenx("k9", "k2"), False)
    same(r.renamenx("k9", "k1"), True)
    same(r.copy("k1", "k4"), True)
    same(r.copy("k1", "k4"), False)
    same(r.copy("k1", "k4", replace=True), True)
    same(r.copy("k1", "k1", destination_db=1), True)
    same(r.execute_command("OBJECT ENCODING", "k1") in (b"int", "int"), True)
    same(r.object("REFCOUNT", "k1") >= 1, True)
    true(r.object("IDLETIME", "k1") >= 0)
    refused(lambda: r.object("FREQ", "k1"), "LFU")
    true(r.execute_command("OBJECT HELP"))
    true(r.memory_usage("k1") > 0)
    same(r.memory_usage("missing"), None)
    payload = r.dump("k1")
    same(r.dump("missing"), None)
    same(r.restore("k7", 100_000, payload), b"OK")
    same(r.get("k7"), b"1")
    refused(lambda: r.restore("k7", 0, payload), "Target key name already exists")
    refused(lambda: r.restore("k8", 0, payload[:-1] + bytes([payload[-1] ^ 1])), "checksum")
    same(r.restore("k7", 0, payload, replace=True), b"OK")
    true(r.randomkey() is not None)
    r.flushdb()
    same(r.randomkey(), None)
    names = {f"user:{n}".encode() for n in range(500)}
    with r.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.set(name, "x")
        same(set(pipeline.execute()), {True})
    same(r.dbsize(), 500)
    same(set(r.scan_iter()), names)
    same(set(r.scan_iter(match="user:1?", count=7)), {f"user:1{n}".encode() for n in range(10)})
    same(set(r.scan_iter(_type="hash")), set())
    same(set(r.keys("user:4*9")), {name for name in names if name.startswith(b"user:4") and name.endswith(b"9")})
    same(r.wait(0, 100), 0)
    if not c.old:
        r.set("durable", 1)
        answer = r.execute_command("WAITAOF", 0, 0, 1000)
        same(len(answer), 2)
    same(r.flushall(), True)
    same(r.dbsize(), 0)


def expiry(c):
    r = c.r
    r.set("e", 1)
    same(r.expire("e", 60), True)
    true(59 <= r.ttl("e") <= 60)
    true(58_000 <= r.pttl("e") <= 60_000)
    same(r.expire("e", 100, nx=True), False)
    same(r.expire("e", 10, gt=True), False)
    same(r.expire("e", 10, lt=True), True)
    same(r.pexpire("e", 50_000, xx=True), True)
    same(r.expireat("e", 4_102_444_800), True)
    same(r.pexpireat("e", 4_102_444_800_123), True)
    same(r.pexpiretime("e"), 4_102_444_800_123)
    same(r.expiretime("e"), 4_102_444_800)
    same(r.persist("e"), True)
    same(r.persist("e"), False)
    same(r.ttl("e"), -1)
    same(r.ttl("missing"), -2)
    same(r.expire("missing", 10), False)
    same(r.expireat("e", 1), True)
    same(r.exists("e"), 0)
    r.set("e", 1, px=20)
    deadline = time.time() + 10
    while r.exists("e") and time.time() < deadline:
        time.sleep(0.005)
    same(r.get("e"), None)
    same(r.pttl("e"), -2)


def transactions(c):
    r = c.r
    with r.pipeline() as pipeline:
        pipeline.set("t1", 1).incr("t1").get("t1")
        same(pipeline.execute(), [True, 2, b"2"])
    with r.pipeline() as pipeline:
        pipeline.watch("t1")
        r.set("t1", "changed meanwhile")
        pipeline.multi()
        pipeline.set("t1", "never")
        try:
            pipeline.execute()
            raise AssertionError("a watched key changed, and EXEC went through")
        except redis.WatchError:
            pass
    same(r.get("t1"), b"changed meanwhile")
    with r.pipeline() as pipeline:
        pipeline.watch("t1")
        pipeline.unwatch()
        pipeline.multi()
        pipeline.incr("t2")
        pipeline.execute_command("INCR", "t1")
        found = pipeline.execute(raise_on_error=False)
        same(found[0], 1)
        true(isinstance(found[1], redis.ResponseError))
    one = c.client(single=True)
    one.connection.send_command("MULTI")
    one.connection.send_command("SET", "t3", "never")
    one.connection.send_command("DISCARD")
    same([one.connection.read_response() for _ in range(3)], [b"OK", b"QUEUED", b"OK"])
    same(r.exists("t3"), 0)

    def add():
        mine = c.client()
        for _ in range(50):
            mine.transaction(lambda p: (p.multi, value := int(p.get("sum") or 0), p.multi(), p.set("sum", value + 1)), "sum")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(r.get("sum"), b"200")


def all_were_used(c):
    wanted = set((HERE / "commands.txt").read_text().split()) - (NEWER if c.old else set())
    same(sorted(wanted - used), [])


TESTS = [connection, client_commands, server_commands, strings, bits, keys, expiry, transactions, all_were_used]


def main():
    # Old commands are tested too.
    warnings.simplefilter("ignore", DeprecationWarning)
    host, port = sys.argv[1].rsplit(":", 1)
    passed = failed = 0
    for protocol in (2, 3):
        used.clear()
        case = Case(host, int(port), protocol)
        case.old = "--redis-7.0" in sys.argv
        for test in TESTS:
            try:
                case.r.flushall()
                test(case)
                passed += 1
            except Exception:
                failed += 1
                print(f"FAILED: {test.__name__}, RESP{protocol}")
                traceback.print_exc(limit=-3, file=sys.stdout)
        case.r.flushall()
    print(f"redis-py: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
