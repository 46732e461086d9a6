"""Owns the two servers' processes: started in an empty folder, with their settings and what /proc says of them."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")

CONFIG = """
[node]
name = "bench"
grpc-port = {grpc}
http-port = {http}

[resp]
port = {port}
max-connections = 20000

[limits]
connections = 20000

[[namespace]]
name = "bench"
durability = "{durability}"

[namespace.storage]
files = [{{ path = "{file}", size = "{size}" }}]
post-write-cache = "{cache}"
"""


def free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Server:
    """A running server. Ends, and its folder with it, at the end of a `with`."""

    def __init__(self, command, port, folder):
        self.port, self.folder = port, folder
        self.log = open(folder / "log.txt", "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.time() + 60
        while time.time() < deadline and self.process.poll() is None:
            try:
                with self.connect() as link:
                    if ask(link, b"PING").startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        self.__exit__()
        raise SystemExit(f"{command[0]} does not start")

    def connect(self):
        link = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def cpu(self):
        """Seconds of user and system time so far, of all threads."""
        text = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident(self):
        """Bytes of resident memory."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise SystemExit("the server is gone")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)


def ask(link, *words):
    """Sends one command and returns the first bytes of its reply."""
    link.sendall(encode(*words))
    return link.recv(65536)


def encode(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Maker:
    """Starts servers in folders under one directory."""

    def __init__(self, directory, cairn):
        self.directory, self.cairn_binary, self.made = pathlib.Path(directory), cairn, 0

    def folder(self):
        self.made += 1
        folder = self.directory / f"redis-bench-{os.getpid()}-{self.made}"
        folder.mkdir(parents=True)
        return folder.resolve()

    def redis(self, fsync, **_):
        """Redis with an append-only file, synced as `fsync` says."""
        folder, (port,) = self.folder(), free_ports(1)
        command = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "yes"]
        command += ["--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0", "--maxclients", "20000"]
        return Server(command, port, folder)

    def cairn(self, durability, cache="64MiB", size="8GiB"):
        """Cairn with one namespace on a file."""
        folder, (port, grpc, http) = self.folder(), free_ports(3)
        values = {"port": port, "grpc": grpc, "http": http, "durability": durability, "cache": cache, "size": size}
        config = folder / "cairn.toml"
        config.write_text(CONFIG.format(file=folder / "bench.dat", **values))
        return Server([self.cairn_binary, "serve", "--config", str(config)], port, folder)
