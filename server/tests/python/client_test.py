"""A client that shares no code with Cairn: grpcio and stubs generated from proto/, against a running node.

Usage: client_test.py HOST:PORT. Prints "N passed, M failed"; exits non-zero on any failure. It works in a set of its own in
namespace `test`, and empties that set before and after.
"""

import sys
import traceback
import uuid

import grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cairn.v1 import admin_pb2, admin_pb2_grpc, cluster_pb2, cluster_pb2_grpc
from cairn.v1 import records_pb2 as r
from cairn.v1 import records_pb2_grpc, types_pb2 as t

NAMESPACE = "test"
SET = "python-" + uuid.uuid4().hex[:8]
TIMEOUT = 30


def key(user):
    if isinstance(user, str):
        return t.Key(namespace=NAMESPACE, set=SET, text=user)
    if isinstance(user, int):
        return t.Key(namespace=NAMESPACE, set=SET, number=user)
    return t.Key(namespace=NAMESPACE, set=SET, binary=user)


def value(python):
    if python is None:
        return t.Value()
    if isinstance(python, bool):
        return t.Value(bool=python)
    if isinstance(python, int):
        return t.Value(int=python)
    if isinstance(python, float):
        return t.Value(double=python)
    if isinstance(python, str):
        return t.Value(string=python)
    if isinstance(python, bytes):
        return t.Value(bytes=python)
    if isinstance(python, list):
        return t.Value(list=t.List(values=[value(item) for item in python]))
    entries = [t.MapEntry(key=value(k), value=value(v)) for k, v in python.items()]
    return t.Value(map=t.Map(entries=entries))


def python(wire):
    kind = wire.WhichOneof("kind")
    if kind is None:
        return None
    if kind == "list":
        return [python(item) for item in wire.list.values]
    if kind == "map":
        return {python(entry.key): python(entry.value) for entry in wire.map.entries}
    return getattr(wire, kind)


def bins(**named):
    return [t.Bin(name=name, value=value(python)) for name, python in named.items()]


def read(record_or_bins):
    return {one.name: python(one.value) for one in record_or_bins}


def failure(error):
    """The Failure in the details of a failed call."""
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get("grpc-status-details-bin")
    assert details, f"no details: {error}"
    # google.rpc.Status, taken apart by hand: the type of field 3 is google.protobuf.Any, whose field 2 is the message.
    any_bytes = fields(details)[3]
    parts = fields(any_bytes)
    assert parts[1] == b"type.googleapis.com/cairn.v1.Failure", parts[1]
    said = t.Failure.FromString(parts[2])
    assert trailers["cairn-code"] == t.Code.Name(said.code), trailers
    return said


def fields(message):
    """Field numbers and contents of an encoded message that has only varints and byte strings, of less than 16 KiB."""
    found, at = {}, 0

    def varint():
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            found[tag >> 3] = varint()
        else:
            length = varint()
            found[tag >> 3] = message[at : at + length]
            at += length
    return found


def fails(code, call, request):
    try:
        call(request, timeout=TIMEOUT)
    except grpc.RpcError as error:
        said = failure(error)
        assert said.code == code, f"{t.Code.Name(said.code)} instead of {t.Code.Name(code)}: {said.message}"
        return said
    raise AssertionError(f"succeeded, and should fail with {t.Code.Name(code)}")


class Checks:
    """Each method that begins with `check_` is one check, run in the order they stand here."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.records = records_pb2_grpc.RecordsStub(self.channel)
        self.admin = admin_pb2_grpc.AdminStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterStub(self.channel)

    def put(self, user, policy=None, **named):
        request = r.PutRequest(key=key(user), bins=bins(**named), policy=policy)
        return self.records.Put(request, timeout=TIMEOUT).metadata

    def get(self, user, *names):
        return self.records.Get(r.GetRequest(key=key(user), bins=names), timeout=TIMEOUT).record

    def empty_set(self):
        self.admin.Truncate(admin_pb2.TruncateRequest(namespace=NAMESPACE, set=SET), timeout=TIMEOUT)

    def check_every_kind_of_value_comes_back(self):
        written = {
            "bool": True,
            "int": -(2**63),
            "double": 1.5e300,
            "string": "é",
            "bytes": b"\x00\xff",
            "list": [1, None, ["a"], {}],
            "map": {"a": {1: [False]}, 2: None, b"b": "c"},
        }
        assert self.put("kinds", **written).generation == 1
        assert read(self.get("kinds").bins) == written
        assert read(self.get("kinds", "int", "none").bins) == {"int": -(2**63)}

    def check_keys_of_every_kind(self):
        for user in ("1", 1, b"1"):
            self.put(user, kind=str(type(user)))
        for user in ("1", 1, b"1"):
            assert read(self.get(user).bins) == {"kind": str(type(user))}

    def check_policies_decide(self):
        policy = t.WritePolicy(exists=t.EXISTS_POLICY_CREATE_ONLY)
        self.put("policy", policy, a=1)
        request = r.PutRequest(key=key("policy"), bins=bins(a=2), policy=policy)
        fails(t.CODE_EXISTS, self.records.Put, request)
        request.policy.CopyFrom(t.WritePolicy(generation_equal=9))
        assert fails(t.CODE_GENERATION, self.records.Put, request).generation == 1
        request.policy.CopyFrom(t.WritePolicy(ttl=t.Ttl(seconds=100)))
        assert self.records.Put(request, timeout=TIMEOUT).metadata.void_time_ms > 0

    def check_touch_exists_delete(self):
        self.put("gone", a=1)
        touch = r.TouchRequest(key=key("gone"), policy=t.WritePolicy(ttl=t.Ttl(seconds=100)))
        touched = self.records.Touch(touch, timeout=TIMEOUT).metadata
        exists = self.records.Exists(r.ExistsRequest(key=key("gone")), timeout=TIMEOUT)
        assert exists.metadata == touched and touched.generation == 2
        self.records.Delete(r.DeleteRequest(key=key("gone")), timeout=TIMEOUT)
        assert not self.records.Exists(r.ExistsRequest(key=key("gone")), timeout=TIMEOUT).HasField("metadata")
        said = fails(t.CODE_NOT_FOUND, self.records.Get, r.GetRequest(key=key("gone")))
        assert not said.in_doubt and not said.retryable

    def check_operate_in_order(self):
        operations = [
            r.Operation(add=t.Bin(name="n", value=value(2))),
            r.Operation(append=t.Bin(name="s", value=value("b"))),
            r.Operation(prepend=t.Bin(name="s", value=value("a"))),
            r.Operation(read=r.ReadBin(name="s")),
            r.Operation(write=t.Bin(name="n", value=value(7))),
            r.Operation(read=r.ReadBin(name="n")),
        ]
        answer = self.records.Operate(r.OperateRequest(key=key("op"), operations=operations), timeout=TIMEOUT)
        assert [python(one.value) for one in answer.bins] == ["ab", 7]

    def check_unknown_namespace(self):
        request = r.GetRequest(key=t.Key(namespace="none", text="a"))
        fails(t.CODE_UNKNOWN_NAMESPACE, self.records.Get, request)

    def check_message_limit(self):
        request = r.PutRequest(key=key("large"), bins=bins(b=b"x" * (300 << 20)))
        fails(t.CODE_LIMIT, self.records.Put, request)
        self.put("alive", a=1)

    def check_batch_keeps_order(self):
        puts = [r.Request(put=r.PutRequest(key=key(f"b{i}"), bins=bins(i=i))) for i in range(1000)]
        answer = self.records.Batch(r.BatchRequest(requests=puts), timeout=TIMEOUT)
        assert all(one.put.metadata.generation == 1 for one in answer.responses)
        gets = [r.Request(get=r.GetRequest(key=key(f"b{i}"))) for i in range(1001)]
        answer = self.records.Batch(r.BatchRequest(requests=gets), timeout=TIMEOUT)
        assert [read(one.get.record.bins)["i"] for one in answer.responses[:1000]] == list(range(1000))
        assert answer.responses[1000].failure.code == t.CODE_NOT_FOUND

    def check_scan_and_resume(self):
        request = r.ScanRequest(namespace=NAMESPACE, set=SET)
        everything = {
            python_key(record.key)
            for message in self.records.Scan(request, timeout=TIMEOUT)
            for record in message.records
        }
        assert {f"b{i}" for i in range(1000)} <= everything
        parts, done = set(), 0
        while done < 4096:
            scan = self.records.Scan(request, timeout=TIMEOUT)
            message = next(scan)
            scan.cancel()
            found = {python_key(record.key) for record in message.records}
            assert not found & parts, "a record came twice"
            parts |= found
            request.cursor, done = message.cursor, message.partitions_done
        assert parts == everything

    def check_pipeline_answers_every_item(self):
        def requests():
            for first in range(0, 20_000, 100):
                yield r.PipelineRequest(items=[item(number) for number in range(first, first + 100)])

        def item(number):
            if number % 2:
                return r.PipelineItem(id=number, request=r.Request(get=r.GetRequest(key=key("none"))))
            put = r.PutRequest(key=key(number), bins=bins(i=number))
            return r.PipelineItem(id=number, request=r.Request(put=put))

        seen = set()
        for message in self.records.Pipeline(requests(), timeout=4 * TIMEOUT):
            for answer in message.answers:
                assert answer.id not in seen
                seen.add(answer.id)
                if answer.id % 2:
                    assert answer.response.failure.code == t.CODE_NOT_FOUND
                else:
                    assert answer.response.put.metadata.generation == 1
        assert len(seen) == 20_000

    def check_admin_and_cluster(self):
        assert self.admin.GetNode(admin_pb2.GetNodeRequest(), timeout=TIMEOUT).version
        namespaces = self.admin.ListNamespaces(admin_pb2.ListNamespacesRequest(), timeout=TIMEOUT).namespaces
        assert NAMESPACE in [namespace.name for namespace in namespaces]
        sets = self.admin.ListSets(admin_pb2.ListSetsRequest(namespace=NAMESPACE), timeout=TIMEOUT).sets
        assert any(one.name == SET and one.records > 1000 for one in sets)
        request = cluster_pb2.PartitionMapRequest(namespace=NAMESPACE)
        runs = self.cluster.PartitionMap(request, timeout=TIMEOUT).runs
        assert sum(run.count for run in runs) == 4096
        watch = self.cluster.Watch(cluster_pb2.WatchRequest(namespace=NAMESPACE), timeout=TIMEOUT)
        assert next(watch).runs == runs
        watch.cancel()

    def check_truncate(self):
        self.empty_set()
        request = r.ScanRequest(namespace=NAMESPACE, set=SET)
        assert sum(len(message.records) for message in self.records.Scan(request, timeout=TIMEOUT)) == 0

    def check_reflection_lists_the_services(self):
        stub = reflection_pb2_grpc.ServerReflectionStub(self.channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answer = next(stub.ServerReflectionInfo(asked, timeout=TIMEOUT))
        names = {service.name for service in answer.list_services_response.service}
        expected = {"cairn.v1.Records", "cairn.v1.Admin", "cairn.v1.Cluster", "grpc.health.v1.Health"}
        assert expected <= names, names


def python_key(wire):
    return getattr(wire, wire.WhichOneof("user_key"))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    checks = Checks(sys.argv[1])
    grpc.channel_ready_future(checks.channel).result(timeout=TIMEOUT)
    passed, failed = 0, 0
    for name in [name for name in vars(Checks) if name.startswith("check_")]:
        try:
            getattr(checks, name)()
            passed += 1
        except Exception:  # every failure is reported, and the others still run
            failed += 1
            print(f"FAILED {name}", file=sys.stderr)
            traceback.print_exc()
    try:
        checks.empty_set()
    except grpc.RpcError as error:
        print(f"could not empty set {SET}: {error}", file=sys.stderr)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
