"""Verify an evidence bundle offline: ``python3 verify.py``. Needs Python 3.8 and openssl 3, nothing else.

Checks: every file against SHA256SUMS and no file beside it; the signature of SHA256SUMS; the hash chain of ledger.jsonl
and each of its signatures; each signed statement and vote. Compare the key ids it prints with those you were given by
another way: that is what ties the bundle to its authors.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SEAL = {"SHA256SUMS", "SHA256SUMS.sig", "SHA256SUMS.key"}


def path(*parts: str) -> str:
    """A file of the bundle."""
    return os.path.join(HERE, *parts)


def read(*parts: str) -> bytes:
    """The bytes of a file of the bundle."""
    with open(path(*parts), "rb") as stream:
        return stream.read()


def signed(message: bytes, signature: bytes, key: str) -> bool:
    """Whether the owner of ``keys/<key>.pem`` signed the message, by openssl."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in (("m", message), ("s", signature)):
            with open(os.path.join(scratch, name), "wb") as stream:
                stream.write(data)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", path("keys", key + ".pem"), "-rawin"]
        command += ["-in", os.path.join(scratch, "m"), "-sigfile", os.path.join(scratch, "s")]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def check_files() -> str:
    """SHA256SUMS lists exactly the files that are here, and is signed."""
    listed = {}
    for line in read("SHA256SUMS").decode().splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    found = set()
    for folder, _, names in os.walk(HERE):
        for name in names:
            found.add(os.path.relpath(os.path.join(folder, name), HERE).replace(os.sep, "/"))
    odd = (found - SEAL) ^ set(listed)
    if odd:
        return "files and SHA256SUMS differ: " + ", ".join(sorted(odd))
    for name, digest in listed.items():
        if hashlib.sha256(read(*name.split("/"))).hexdigest() != digest:
            return name + " was changed"
    key = read("SHA256SUMS.key").decode().strip()
    return "" if signed(read("SHA256SUMS"), read("SHA256SUMS.sig"), key) else "SHA256SUMS is not signed by " + key


def check_ledger() -> str:
    """Each entry follows the one before, and is signed."""
    ledger = read("ledger-id.txt").decode().strip()
    previous = hashlib.sha256(("genesis:" + ledger).encode()).hexdigest()
    for number, line in enumerate(read("ledger.jsonl").decode().splitlines(), 1):
        item = json.loads(line)
        record = item["record"].encode()
        value = json.loads(record)
        digest = hashlib.sha256(record).hexdigest()
        if digest != item["hash"] or value["previous"] != previous or value["seq"] != number:
            return f"ledger entry {number} does not fit the chain"
        if not signed(bytes.fromhex(digest), base64.b64decode(item["signature"]), value["key"]):
            return f"ledger entry {number} is not signed by {value['key']}"
        previous = digest
    return ""


def check_envelopes(folder: str) -> str:
    """Each DSSE envelope of a folder is signed by a key of the bundle."""
    for name in sorted(os.listdir(path(folder))):
        envelope = json.loads(read(folder, name))
        kind, body = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
        signatures = envelope["signatures"]
        if not any(signed(message, base64.b64decode(item["sig"]), item["keyid"]) for item in signatures):
            return folder + "/" + name + " is not signed by a key of this bundle"
    return ""


def main() -> int:
    """Run every check; 0 when all hold."""
    checks = (
        ("files and their signature", check_files),
        ("ledger", check_ledger),
        ("statements", lambda: check_envelopes("statements")),
        ("votes", lambda: check_envelopes("votes")),
    )
    bad = 0
    for name, check in checks:
        problem = check()
        bad += bool(problem)
        sys.stdout.write(("FAILED  " if problem else "ok      ") + name + (": " + problem if problem else "") + "\n")
    sys.stdout.write("keys    " + ", ".join(sorted(n[:-4] for n in os.listdir(path("keys")))) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
