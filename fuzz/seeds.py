#!/usr/bin/env python3
"""Writes the seed corpora of the fuzz targets from the test vectors: fuzz/corpus/<target>/<hash>.

Every string of every vector file is looked at; what it is a seed for follows from its form and its member's name.
"""
import base64
import hashlib
import json
import pathlib
import re
import struct

HERE = pathlib.Path(__file__).resolve().parent
SIGNATURE = 64


def seed(target, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def strings(value, key=""):
    if isinstance(value, dict):
        for name, member in value.items():
            yield from strings(member, name)
    elif isinstance(value, list):
        for member in value:
            yield from strings(member, key)
    elif isinstance(value, str):
        yield key, value


def record(value):
    """A record as the text it is, and as the body without signatures for the harness to sign."""
    kind = value.split("t=", 1)[1].split(";", 1)[0]
    target = "record_" + kind
    seed(target, value.encode())
    payload = value.split(";", 2)[-1].removeprefix("d=")
    try:
        blob = base64.b64decode(payload, validate=True)
    except ValueError:
        return
    if kind != "chunk":
        body = blob[: -SIGNATURE * (2 if kind == "rotation" else 1)]
        seed(target, body)
        order = ["chunk", "manifest", "identity", "prekey", "cluster", "bootstrap", "rotation", "revocation", "claim", "heartbeat"]
        seed("two_parsers", bytes([order.index(kind)]) + body)


def opened(header):
    """An outer message with this header, made to fit the message and recipient of the target `open`."""
    header = re.sub(r'"msg_id":"[0-9a-f]*"', '"msg_id":"' + "07" * 16 + '"', header)
    header = re.sub(r'"recipient":"[0-9a-f]*"', '"recipient":"' + "08" * 32 + '"', header)
    header = re.sub(r'"timestamp":\d+|"ts":\d+', lambda m: m[0].split(":")[0] + ":1800000000", header).encode()
    return b"\0" + struct.pack(">H", len(header)) + header + bytes(92)


def confirmation(subject):
    """The body of a registration, with members of the right form."""
    return {
        "subject": subject,
        "ed25519_spk": "11" * 32,
        "challenge": "22" * 32,
        "signature": "33" * 64,
        "x25519_pub": "44" * 32,
        "x25519_pop": "55" * 32,
    }


KINDS = {"chunk", "manifest", "identity", "prekey", "cluster", "bootstrap", "rotation", "revocation", "claim", "heartbeat"}
FROM_HEX = {
    "query_hex": ["dns_query", "dns_tsig"],
    "request_hex": ["dns_update", "dns_tsig", "dns_query"],
    "reference_response_hex": ["dns_response"],
    "response_hex": ["dns_response"],
    "plaintext_hex": ["envelope"],
    "outer_message_hex": ["outer_header"],
}


def main():
    for path in sorted((HERE.parent / "vectors").glob("*.json")):
        for key, value in strings(json.loads(path.read_text())):
            if value.startswith("v=dmp1;t=") and value[9:].split(";")[0] in KINDS:
                record(value)
            for target in FROM_HEX.get(key, []):
                seed(target, bytes.fromhex(value))
            if key == "yaml":
                seed("config_yaml", value.encode())
            if key.startswith("outer_header") and value.startswith("{"):
                seed("outer_header", value.encode())
                seed("open", opened(value))
            if "@" in value and len(value) < 300:
                seed("address", value.encode())
                seed("http_body", json.dumps(confirmation(value)).encode())
            if "." in value and len(value) < 300 and not value.startswith("v="):
                seed("names", value.encode())
                seed("http_body", json.dumps({"value": value, "ttl": 300}).encode())
    seed("config_yaml", (HERE.parent / "vectors/state-files/config.yaml").read_bytes())
    seed("erasure", bytes([3, 4, 1, 0]) + bytes(range(128)) * 3)
    seed("txt_rdata", b"\x05hello\x00" + b"\xff" + bytes(255))


main()
