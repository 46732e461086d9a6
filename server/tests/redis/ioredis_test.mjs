// ioredis against a running node: every command of commands.txt, in RESP2 and in RESP3, with what each must answer.
//
// Usage: node ioredis_test.mjs HOST:PORT [--redis-7.0]. With --redis-7.0 the server is a Redis that does not know the newest commands yet:
// that is how this script is checked itself. It empties all databases. Prints "N passed, M failed"; exits non-zero on any failure.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// From where run.sh installed it.
const { Redis, Command } = createRequire(`${process.env.NODE_MODULES ?? process.cwd()}/`)("ioredis");

const [host, port] = process.argv[2].split(":");
const old = process.argv.includes("--redis-7.0");
const NEWER = new Set(["CLIENT|SETINFO", "CLIENT|NO-TOUCH", "WAITAOF"]);
const used = new Set();

// Every command goes through here, those that the client sends by itself too.
const write = Command.prototype.toWritable;
Command.prototype.toWritable = function (...rest) {
  const words = [this.name, ...this.args.slice(0, 1)].map((word) => String(word).toUpperCase());
  used.add(words[0]).add(words.join("|"));
  return write.apply(this, rest);
};

const clients = [];
function client(protocol, options = {}) {
  const made = new Redis({ host, port: Number(port), protocol, retryStrategy: null, ...options });
  made.on("error", () => {});
  clients.push(made);
  return made;
}

const same = (found, expected) => assert.deepEqual(found, expected);
const between = (found, low, high) => assert.ok(low <= found && found <= high, `${found} is not in ${low}..${high}`);
const refused = (promise, text) => assert.rejects(promise, (error) => error.message.includes(text));

const tests = {
  async connection(r, protocol) {
    same(await r.ping(), "PONG");
    same(await r.ping("hello"), "hello");
    same(await r.callBuffer("ECHO", Buffer.from([0, 13, 10, 255])), Buffer.from([0, 13, 10, 255]));
    const hello = await r.call("HELLO", protocol);
    same(hello[hello.indexOf("proto") + 1], protocol);
    await refused(r.auth("nobody", "wrong"), "WRONGPASS");
    same(await r.select(3), "OK");
    await r.set("only here", 1);
    same(await r.dbsize(), 1);
    await r.select(0);
    same(await r.exists("only here"), 0);
    same(await r.swapdb(0, 3), "OK");
    same(await r.get("only here"), "1");
    await r.swapdb(0, 3);
    await refused(r.select(99), "ERR DB index is out of range");
    await refused(r.call("NOTHING", "a"), "ERR unknown command 'NOTHING', with args beginning with: 'a'");
    same(await client(protocol).call("RESET"), "RESET");
    const leaving = client(protocol);
    same(await leaving.ping(), "PONG");
    same(await leaving.quit(), "OK");
  },

  async clients(r, protocol) {
    const id = await r.client("ID");
    assert.ok(id > 0);
    same(await r.client("SETNAME", "tester"), "OK");
    same(await r.client("GETNAME"), "tester");
    assert.match(await r.client("INFO"), new RegExp(`^id=${id} .*name=tester.*resp=${protocol}`));
    assert.match(await r.client("LIST"), /name=tester/);
    same(await r.client("NO-EVICT", "ON"), "OK");
    same(await r.client("NO-EVICT", "OFF"), "OK");
    if (!old) {
      same(await r.client("SETINFO", "LIB-NAME", "script"), "OK");
      assert.match(await r.client("INFO"), /lib-name=script/);
      same(await r.client("NO-TOUCH", "ON"), "OK");
      same(await r.client("NO-TOUCH", "OFF"), "OK");
    }
    const other = client(protocol);
    const ended = new Promise((resolve) => other.once("end", resolve));
    same(await r.client("KILL", "ID", await other.client("ID")), 1);
    await ended;
    same(await r.client("REPLY", "ON"), "OK");
  },

  async server(r) {
    assert.ok((await r.command("COUNT")) >= 75);
    const [get, nothing] = await r.command("INFO", "get", "nothing");
    same(get.slice(0, 2), ["get", 2]);
    same(nothing, null);
    assert.ok((await r.command("DOCS", "get")).length > 0);
    assert.ok((await r.command("LIST")).includes("get"));
    same((await r.config("GET", "maxmemory"))[0], "maxmemory");
    same(await r.config("SET", "slowlog-log-slower-than", 20000), "OK");
    same(await r.config("GET", "slowlog-log-slower-than"), ["slowlog-log-slower-than", "20000"]);
    await r.config("SET", "slowlog-log-slower-than", 10000);
    same(await r.config("RESETSTAT"), "OK");
    assert.match(await r.info(), /redis_version:[^]*used_memory:[^]*total_commands_processed:/);
    await r.set("counted", 1);
    assert.match(await r.info("keyspace"), /db0:keys=\d+,expires=\d+/);
    between(Number((await r.time())[0]), Date.now() / 1000 - 5, Date.now() / 1000 + 5);
    assert.ok((await r.call("LOLWUT")).length > 0);
    assert.ok(Array.isArray(await r.slowlog("GET")));
    assert.ok((await r.slowlog("LEN")) >= 0);
    same(await r.slowlog("RESET"), "OK");
    same(await r.latency("LATEST"), []);
    same(await r.latency("HISTORY", "command"), []);
    same(await r.latency("RESET"), 0);
    assert.ok((await r.latency("DOCTOR")).length > 0);
  },

  async strings(r) {
    const raw = Buffer.from([0, 255, 13, 10]);
    same(await r.set("s", raw), "OK");
    same(await r.getBuffer("s"), raw);
    same(await r.get("missing"), null);
    same(await r.set("s", "new", "NX"), null);
    same(await r.set("s", "second", "GET"), raw.toString());
    same(await r.set("s", "third", "EX", 100), "OK");
    same(await r.set("s", "fourth", "KEEPTTL"), "OK");
    between(await r.ttl("s"), 1, 100);
    same(await r.set("s", "v", "PXAT", 4102444800000, "XX"), "OK");
    same(await r.expiretime("s"), 4102444800);
    same(await r.getset("s", "x"), "v");
    same(await r.getex("s", "EX", 50), "x");
    same(await r.getex("s", "PERSIST"), "x");
    same(await r.getdel("s"), "x");
    same(await r.setex("s", 60, "x"), "OK");
    same(await r.psetex("s", 60000, "y"), "OK");
    same(await r.setnx("s", "z"), 0);
    same(await r.mset("m1", 1, "m2", 2), "OK");
    same(await r.mget("m1", "missing", "m2"), ["1", null, "2"]);
    same(await r.msetnx("m2", 3, "m3", 3), 0);
    same(await r.msetnx("m3", 3, "m4", 4), 1);
    same(await r.append("m1", "23"), 3);
    same(await r.strlen("m1"), 3);
    same([await r.incr("n"), await r.incrby("n", 41), await r.decr("n"), await r.decrby("n", 1)], [1, 42, 41, 40]);
    same([await r.incrbyfloat("f", 10.5), await r.incrbyfloat("f", 0.1)], ["10.5", "10.6"]);
    await r.set("text", "t");
    await refused(r.incr("text"), "ERR value is not an integer or out of range");
    await r.set("range", "Hello World");
    same(await r.getrange("range", 0, 4), "Hello");
    same(await r.substr("range", -5, -1), "World");
    same(await r.setrange("range", 6, "Redis"), 11);
    await r.mset("l1", "ohmytext", "l2", "mynewtext");
    same(await r.lcs("l1", "l2"), "mytext");
    same(await r.lcs("l1", "l2", "LEN"), 6);
    assert.ok((await r.lcs("l1", "l2", "IDX", "MINMATCHLEN", 4, "WITHMATCHLEN")).includes("matches"));
    const long = Buffer.alloc(500_000, "long");
    await r.set("long", long);
    same(await r.getBuffer("long"), long);
  },

  async bits(r) {
    same([await r.setbit("b", 7, 1), await r.getbit("b", 7), await r.getbit("b", 100)], [0, 1, 0]);
    await r.set("b", "foobar");
    same([await r.bitcount("b"), await r.bitcount("b", 1, 1), await r.bitcount("b", 5, 30, "BIT")], [26, 6, 17]);
    same([await r.bitpos("b", 1), await r.bitpos("b", 0, 2), await r.bitpos("b", 1, 7, 15, "BIT")], [1, 16, 9]);
    await r.mset("b1", "abc", "b2", "ab");
    same(await r.bitop("AND", "out", "b1", "b2"), 3);
    same(await r.get("out"), "ab\0");
    same(await r.bitfield("bf", "SET", "u8", 0, 250, "OVERFLOW", "SAT", "INCRBY", "u8", 0, 100), [0, 255]);
    same(await r.bitfield("bf", "OVERFLOW", "FAIL", "INCRBY", "u8", 0, 1), [null]);
    same(await r.bitfield_ro("bf", "GET", "u8", 0), [255]);
  },

  async keys(r) {
    await r.mset("k1", 1, "k2", 2, "k3", 3);
    same(await r.del("k1", "k2", "missing"), 2);
    same(await r.unlink("k3"), 1);
    await r.mset("k1", 1, "k2", 2);
    same(await r.exists("k1", "k1", "missing"), 2);
    same([await r.type("k1"), await r.type("missing")], ["string", "none"]);
    same(await r.touch("k1", "missing"), 1);
    same(await r.rename("k1", "k9"), "OK");
    await refused(r.rename("missing", "x"), "ERR no such key");
    same(await r.renamenx("k9", "k2"), 0);
    same(await r.copy("k9", "k1"), 1);
    same(await r.copy("k9", "k1", "REPLACE"), 1);
    same(await r.object("ENCODING", "k1"), "int");
    assert.ok((await r.object("REFCOUNT", "k1")) >= 1);
    assert.ok((await r.object("IDLETIME", "k1")) >= 0);
    await refused(r.object("FREQ", "k1"), "LFU");
    assert.ok((await r.object("HELP")).length > 0);
    assert.ok((await r.memory("USAGE", "k1")) > 0);
    const payload = await r.dumpBuffer("k1");
    same(await r.restore("k7", 100000, payload), "OK");
    same(await r.get("k7"), "1");
    await refused(r.restore("k7", 0, payload), "BUSYKEY");
    assert.ok(await r.randomkey());
    await r.flushdb();
    const names = Array.from({ length: 500 }, (_, n) => `user:${n}`);
    await r.pipeline(names.map((name) => ["set", name, "x"])).exec();
    same(await r.dbsize(), 500);
    const found = new Set();
    for await (const some of r.scanStream({ count: 7 })) some.forEach((name) => found.add(name));
    same([...found].sort(), [...names].sort());
    same((await r.keys("user:1?")).length, 10);
    same(await r.wait(0, 100), 0);
    if (!old) same((await r.call("WAITAOF", 0, 0, 1000)).length, 2);
    same(await r.flushall(), "OK");
    same(await r.randomkey(), null);
  },

  async expiry(r) {
    await r.set("e", 1);
    same(await r.expire("e", 60), 1);
    between(await r.ttl("e"), 59, 60);
    between(await r.pttl("e"), 58000, 60000);
    same([await r.expire("e", 100, "NX"), await r.expire("e", 10, "GT"), await r.expire("e", 10, "LT")], [0, 0, 1]);
    same(await r.pexpire("e", 50000, "XX"), 1);
    same(await r.expireat("e", 4102444800), 1);
    same(await r.pexpireat("e", 4102444800123), 1);
    same([await r.expiretime("e"), await r.pexpiretime("e")], [4102444800, 4102444800123]);
    same([await r.persist("e"), await r.persist("e"), await r.ttl("e"), await r.ttl("missing")], [1, 0, -1, -2]);
    same(await r.expireat("e", 1), 1);
    same(await r.exists("e"), 0);
  },

  async transactions(r, protocol) {
    same(await r.multi().set("t1", 1).incr("t1").get("t1").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
    const other = client(protocol);
    await other.watch("t1");
    await r.set("t1", "changed meanwhile");
    same(await other.multi().set("t1", "never").exec(), null);
    await other.watch("t1");
    same(await other.unwatch(), "OK");
    await r.set("t1", "again");
    const [one, wrong] = await other.multi().incr("t2").incr("t1").exec();
    same(one, [null, 1]);
    assert.match(wrong[0].message, /not an integer/);
    await r.multi({ pipeline: false });
    same(await r.set("t3", "never"), "QUEUED");
    same(await r.discard(), "OK");
    same(await r.exists("t3"), 0);
  },

  async allWereUsed() {
    const wanted = readFileSync(new URL("commands.txt", import.meta.url), "utf8").split(/\s+/).filter(Boolean);
    same(wanted.filter((name) => !used.has(name) && !(old && NEWER.has(name))), []);
  },
};

let passed = 0;
let failed = 0;
for (const protocol of [2, 3]) {
  used.clear();
  const r = client(protocol);
  for (const [name, test] of Object.entries(tests)) {
    try {
      await r.flushall();
      await test(r, protocol);
      passed += 1;
    } catch (error) {
      failed += 1;
      console.log(`FAILED: ${name}, RESP${protocol}: ${error.stack}`);
    }
  }
  await r.flushall();
}
clients.forEach((each) => each.disconnect());
console.log(`ioredis: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
