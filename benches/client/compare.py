#!/usr/bin/env python3
"""The client beside the reference: whole processes on the same node in the same run.

Starts one node, gives each program a sender and a recipient in homes of their own, and measures wall time, CPU time and peak memory of
their commands in turn, so that whatever disturbs the machine disturbs both. Prints medians and ratios, and says which targets are met.
Nothing leaves this machine, and everything written is under a temporary directory.
"""

import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = os.environ.get("DNSMESH", str(ROOT / "target/release/dnsmesh"))
REFERENCE = os.path.join(os.environ.get("DNSMESH_REFERENCE", "/usr/local/bin"), "dnsmesh")
ROUNDS = int(os.environ.get("R", "15"))
BATCHES = int(os.environ.get("B", "3"))
ZONE = "alpha.test"
SENDERS, EACH = 5, 20

NODE = {
    "DMP_DNS_HOST": "127.0.0.1",
    "DMP_DNS_PORT": "0",
    "DMP_HTTP_HOST": "127.0.0.1",
    "DMP_HTTP_PORT": "0",
    "DMP_DOMAIN": ZONE,
    "DMP_NODE_HOSTNAME": ZONE,
    "DMP_DNS_UPDATE_ENABLED": "1",
    "DMP_DNS_APEX_A": "127.0.0.1",
    # No limit: it would slow down whoever sends no cookies.
    "DMP_DNS_RATE_EXEMPT": "127.0.0.1",
    "DMP_HTTP_RATE": "0",
    "DMP_CLAIM_RATE_PER_USER_PER_SEC": "0",
    "DMP_MAX_VALUES_PER_NAME": "0",
    "DMP_MAX_VALUES_PER_WRITER_PER_MAILBOX": "0",
}


class Ran:
    """One process: how it ended and what it cost."""

    def __init__(self, command, environment):
        out = tempfile.TemporaryFile()
        begin = time.perf_counter()
        child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        self.wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime
        self.memory = usage.ru_maxrss / 1024
        out.seek(0)
        self.text = out.read().decode(errors="replace")
        if child.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {child.returncode}:\n{self.text}")


class User:
    """A home and the program that works in it."""

    def __init__(self, program, name, directory, node):
        self.program, self.name = program, name
        self.home = directory / name
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "DMP_CONFIG_HOME": str(self.home),
            "DMP_TOKENS_HOME": str(self.home / "tokens"),
            "DMP_PASSPHRASE": f"passphrase of {name}",
            "DMP_PROVIDER_DNS_PORT": str(node.dns),
        }
        self.run("init", f"{name}@{ZONE}", "--endpoint", f"http://127.0.0.1:{node.http}",
                 "--dns-resolvers", f"127.0.0.1:{node.dns}", "--no-probe-local-dns")
        # The last of a repeated key counts.
        with open(self.home / "config.yaml", "a", encoding="utf-8") as config:
            config.write(f"local_node_dns_server: 127.0.0.1\nlocal_node_dns_port: {node.dns}\n"
                         f"claim_provider_override: http://127.0.0.1:9\nclaim_provider_zone: {ZONE}\n")
        self.run("identity", "publish")

    def run(self, *arguments):
        return Ran([self.program, *arguments], self.environment)

    def meet(self, other):
        self.run("identity", "fetch", f"{other.name}@{ZONE}", "--add")


class Node:
    """Our node in open mode, where both programs write over HTTP: the way on which the reference can send."""

    def __init__(self, directory):
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "DMP_DB_PATH": str(directory / "dmp.db"), **NODE}
        self.child = subprocess.Popen([OURS, "node"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, text=True)
        for line in self.child.stdout:
            found = re.search(r"DMP node up: .*dns=127\.0\.0\.1:(\d+).*http=127\.0\.0\.1:(\d+)", line)
            if found:
                self.dns, self.http = (int(port) for port in found.groups())
                return
        sys.exit("the node did not start")

    def end(self):
        self.child.terminate()
        self.child.wait()


def middle(runs, what):
    return statistics.median(getattr(run, what) for run in runs)


def row(name, ours, theirs, most):
    """A row of the table; False if the target is missed."""
    mine, other = middle(ours, "wall"), middle(theirs, "wall")
    ratio = mine / other
    print(f"| {name} | {mine * 1000:.1f} | {middle(ours, 'cpu') * 1000:.1f} | {other * 1000:.1f} | {ratio:.3f} | {most:.3f} |"
          f" {max(run.memory for run in ours):.1f} | {max(run.memory for run in theirs):.1f} |")
    return ratio <= most


def delivered(ran, count):
    found = len(re.findall(r"^from [0-9a-f]{16}", ran.text, re.MULTILINE))
    if found != count:
        sys.exit(f"{found} of {count} messages were delivered:\n{ran.text}")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        node = Node(directory)
        try:
            ok = measure(directory, node)
        finally:
            node.end()
    sys.exit(0 if ok else 1)


def measure(directory, node):
    pairs = {}
    for which, program in (("ours", OURS), ("theirs", REFERENCE)):
        sender, recipient = (User(program, f"{which}-{name}", directory, node) for name in ("alice", "bob"))
        recipient.run("identity", "refresh-prekeys", "--count", "40")
        sender.meet(recipient)
        recipient.meet(sender)
        pairs[which] = (sender, recipient)

    send, receive, nothing = ({"ours": [], "theirs": []} for _ in range(3))
    for number in range(ROUNDS + 1):
        for which, (sender, recipient) in pairs.items():
            sent = sender.run("send", f"{recipient.name}@{ZONE}", f"message {number}")
            got = recipient.run("recv")
            delivered(got, 1)
            empty = recipient.run("recv")
            if number:  # the first round warms caches up
                send[which].append(sent)
                receive[which].append(got)
                nothing[which].append(empty)

    many = {"ours": [], "theirs": []}
    for batch in range(BATCHES):
        for which, program in (("ours", OURS), ("theirs", REFERENCE)):
            # Without one-time keys: with them the reference loses messages of senders who take the same one. Our senders serve both.
            recipient = User(program, f"{which}-many{batch}", directory, node)
            for index in range(SENDERS):
                sender = User(OURS, f"{which}-sender{batch}-{index}", directory, node)
                sender.meet(recipient)
                recipient.meet(sender)
                for number in range(EACH):
                    sender.run("send", f"{recipient.name}@{ZONE}", f"message {number} of {index}")
            got = recipient.run("recv")
            delivered(got, SENDERS * EACH)
            many[which].append(got)

    print("| whole process | ours, ms | CPU, ms | reference, ms | ratio | at most | ours, MiB | reference, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    met = [
        row("`send`, one short message", send["ours"], send["theirs"], 1 / 4),
        row("`recv`, one short message", receive["ours"], receive["theirs"], 1 / 4),
        row("`recv`, nothing new", nothing["ours"], nothing["theirs"], 1 / 4),
        row(f"`recv`, {SENDERS * EACH} messages of {SENDERS} senders", many["ours"], many["theirs"], 1 / 10),
    ]
    memory = max(run.memory for run in send["ours"] + receive["ours"] + many["ours"])
    print(f"\nPeak memory of `send` and `recv`: {memory:.1f} MiB (at most 64).\n")
    met.append(memory < 64)
    print("| without a key derivation | ours, ms (at most 10) |")
    print("|---|---|")
    user = pairs["ours"][1]
    for arguments in (["--version"], ["token", "list"], ["resolvers", "list"], ["config", "path"], ["config", "list"]):
        wall = middle([user.run(*arguments) for _ in range(ROUNDS)], "wall")
        print(f"| `{' '.join(arguments)}` | {wall * 1000:.1f} |")
        met.append(wall < 0.010)
    print("\nall targets met" if all(met) else "\na target is missed")
    return all(met)


main()
