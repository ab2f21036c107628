"""Bulk to near peers is not paced where the system's congestion control is BBR; what goes far is."""
import subprocess

import pytest

from harness.net import NetNamespace, Road
from harness.socks import Client
from harness.targets import Target, hold, sink
from harness.wait import until

ALLOW = 'all: { action = "allow"; from = "loopback"; to = [ "any", "loopback" ] }'
MUCH = 300_000  # more than may pass before the distance is looked at
LITTLE = 1000


@pytest.fixture
def paced(namespace):
    """A network whose system paces."""
    with namespace:
        chosen = subprocess.run(["sysctl", "-w", "net.ipv4.tcp_congestion_control=bbr"],
                                check=False, capture_output=True)
    if chosen.returncode != 0:
        pytest.skip("this kernel has no BBR")
    return namespace


@pytest.fixture
def road(paced):
    """From that network to another one: 4 ms there and back."""
    there = NetNamespace()
    try:
        way = Road(paced, there, 0.002)
    except OSError as error:
        there.close()
        pytest.skip(f"no /dev/net/tun: {error}")
    way.there = there
    yield way
    way.close()
    there.close()


def algorithm(space, *where):
    """That of the one established connection so described (see ss(8))."""
    with space:
        said = subprocess.run(["ss", "-tinHO", "state", "established", *where], check=True,
                              capture_output=True, text=True).stdout.splitlines()
    assert len(said) == 1, said
    return next(word for word in said[0].split() if word in ("bbr", "cubic", "reno"))


def of_client(space, daemon):
    return algorithm(space, "src", "%s:%d" % daemon.at)


def of_target(space, target):
    return algorithm(space, "dst", f"{target.host}:{target.port}")


def carry(client, sock, n):
    """n bytes each way."""
    for sender, receiver in ((client.sock, sock), (sock, client.sock)):
        receiver.settimeout(20)
        sent = 0
        while sent < n:
            piece = min(20000, n - sent)
            sender.sendall(b"x" * piece)
            sent += piece
            got = 0
            while got < piece:
                got += len(receiver.recv(piece - got))


def test_near_peers_are_not_paced(paced, daemons):
    with paced:
        daemon = daemons(rules=ALLOW, start=False)
        daemon.options = ["-v"]
        daemon.start()
        target = Target(serve=hold)
        with Client(daemon.at) as client:
            client.connect5(*target.at)
            sock = target.take()
            for n in (LITTLE, MUCH):
                carry(client, sock, n)
                assert of_client(paced, daemon) == "cubic"
                assert of_target(paced, target) == "cubic"
            assert algorithm(paced, "src", f"{target.host}:{target.port}") == "bbr"  # not ours
        assert daemon.log().count("connections begin with 'cubic'") == 1  # of two workers
    target.close()


def test_as_the_system_says(paced, daemons):
    """relay.pace-near, at the start, and changed by a reload, also for those that come in."""
    with paced:
        daemon = daemons(rules=ALLOW, settings={"relay": {"pace-near": True}})
        target = Target(serve=hold)
        for wanted in ("bbr", "cubic", "bbr"):
            if wanted != "bbr" or target.accepted:
                daemon.reload(settings={"relay": {"pace-near": wanted == "bbr"}})
            with Client(daemon.at) as client:
                client.connect5(*target.at)
                carry(client, target.take(), MUCH)
                assert of_client(paced, daemon) == wanted
                assert of_target(paced, target) == wanted
                client.fin()
                target.accepted[-1].close()
                assert client.read_end() == b""
            daemon.ledger.wait(lambda r: r["event"]["action"] == "session-end", "the end",
                               count=len(target.accepted))
    target.close()


def test_a_far_target_is_paced(paced, road, daemons):
    with road.there:
        target = Target(serve=sink, host=Road.far)
    with paced:
        daemon = daemons(rules=ALLOW)
        with Client(daemon.at) as client:
            client.connect5(*target.at)
            client.send(b"x" * LITTLE)
            assert of_target(paced, target) == "cubic"
            client.send(b"x" * MUCH)
            until(lambda: of_target(paced, target) == "bbr", "the pace of the way")
            assert of_client(paced, daemon) == "cubic"
    target.close()


def test_a_far_client_is_paced(paced, road, daemons):
    with paced:
        daemon = daemons(rules='all: { action = "allow"; from = "10.99.0.0/24"; to = "loopback" }',
                         listeners={"far": {"address": Road.near, "port": 1080}})
        daemon.at = Road.near, 1080
        target = Target(serve=hold)
        with road.there:
            client = Client(daemon.at)
        with client:
            client.connect5(*target.at)
            sock = target.take()
            carry(client, sock, LITTLE)
            assert of_client(paced, daemon) == "cubic"
            carry(client, sock, MUCH)
            until(lambda: of_client(paced, daemon) == "bbr", "the pace of the way")
            assert of_target(paced, target) == "cubic"
    target.close()


def test_nothing_is_changed_elsewhere(namespace, daemons):
    """A system that does not pace keeps its own."""
    with namespace:
        subprocess.run(["sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"], check=True)
        daemon = daemons(rules=ALLOW)
        target = Target(serve=hold)
        with Client(daemon.at) as client:
            client.connect5(*target.at)
            carry(client, target.take(), MUCH)
            assert of_client(namespace, daemon) == "reno"
            assert of_target(namespace, target) == "reno"
    target.close()
