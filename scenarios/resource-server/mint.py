#!/usr/bin/env python3
"""Where do tokens come from, when the server only verifies? Here from the issuer's development key; in life, from a call to your issuer.

Prints {"access": "..."} for the user named on the command line. Needs nothing but Python's own library.
"""

import base64
import hashlib
import json
import sys
import time
import uuid
from pathlib import Path

# DER of DigestInfo for SHA-256 up to the digest, RFC 8017 section 9.2.
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def encode(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def number(text):
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def main():
    key = json.loads((Path(__file__).parent / "keys/private.jwk.json").read_text())
    modulus, exponent = number(key["n"]), number(key["d"])
    size = (modulus.bit_length() + 7) // 8
    now = int(time.time())
    header = {"alg": "RS256", "typ": "JWT", "kid": key["kid"]}
    claims = {
        "iss": "https://login.example",
        "aud": "orders",
        "sub": sys.argv[1] if len(sys.argv) > 1 else "alice",
        "iat": now,
        "exp": now + 300,
        "jti": str(uuid.uuid4()),
    }
    signed = encode(json.dumps(header).encode()) + b"." + encode(json.dumps(claims).encode())
    digest = SHA256_PREFIX + hashlib.sha256(signed).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    signature = pow(int.from_bytes(padded, "big"), exponent, modulus).to_bytes(size, "big")
    print(json.dumps({"access": (signed + b"." + encode(signature)).decode()}))


if __name__ == "__main__":
    main()
