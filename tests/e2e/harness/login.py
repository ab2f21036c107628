"""Users with passwords and CHAP secrets, and the sub-negotiations of SOCKS5 by hand: RFC 1929, and
draft-ietf-aft-socks-chap-01 written from the draft, not from the server."""
import ctypes
import hashlib
import hmac
import os

CRYPT = ctypes.CDLL("libcrypt.so.1")
CRYPT.crypt.restype = ctypes.c_char_p


def hashed(password):
    """yescrypt at its cheapest: the tests are about the dialogue."""
    return CRYPT.crypt(password.encode(), b"$y$j7T$sallyporttestsss").decode()


def write_private(daemon, name, lines):
    path = os.path.join(daemon.folder, name)
    with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.writelines(line + "\n" for line in lines)
    return path


def write_users(daemon, users, name="users"):
    """users: {name: password}; the file's path."""
    return write_private(daemon, name, (f"{u}:{hashed(p)}" for u, p in users.items()))


def password(user, secret):
    """The one message of RFC 1929."""
    user, secret = (x.encode() if isinstance(x, str) else x for x in (user, secret))
    return bytes([1, len(user)]) + user + bytes([len(secret)]) + secret


# -- CHAP ---------------------------------------------------------------------

STATUS, TEXT, USER, CHALLENGE, RESPONSE, CHARSET, IDENTIFIER, ALGORITHMS = (
    0, 1, 2, 3, 4, 5, 0x10, 0x11)
HMAC_MD5 = 0x85


def chap(*attributes):
    """A message of attributes (number, value)."""
    return bytes([1, len(attributes)]) + b"".join(
        bytes([number, len(value)]) + value for number, value in attributes)


def read_chap(client):
    """{attribute: value} of one message."""
    version, count = client.read(2)
    assert version == 1 and count > 0
    found = {}
    for _ in range(count):
        number, length = client.read(2)
        assert number not in found
        found[number] = client.read(length)
    return found


def chap_login(client, user, secret, late=False, extra=(), send=None):
    """The whole dialogue after the method was chosen; the status byte."""
    send = send or client.send
    name = [(USER, user)]
    send(chap((ALGORITHMS, bytes([5, HMAC_MD5])), *([] if late else name), *extra))
    offer = read_chap(client)
    assert set(offer) == {ALGORITHMS, CHALLENGE}
    assert offer[ALGORITHMS] == bytes([HMAC_MD5]) and len(offer[CHALLENGE]) >= 16
    digest = hmac.new(secret, offer[CHALLENGE], hashlib.md5).digest()
    send(chap((RESPONSE, digest), *(name if late else []), *extra))
    verdict = read_chap(client)
    assert set(verdict) == {STATUS} and len(verdict[STATUS]) == 1
    return verdict[STATUS][0]
