"""README is run as a newcomer would run it: every curl line in it, against `./dev run`'s server."""
import http.server
import os
import re
import shlex
import subprocess
import threading

import pytest

from conftest import ROOT
from harness.net import alive, children
from harness.wait import until


def curl_lines():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S)
    blocks += re.findall(r"(?:^(?:    |\t).*\n)+", text, re.M)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("curl ") and "127.0.0.1:1080" in line})


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from behind the sally port\n")

    def log_message(self, *_):
        pass


def test_there_is_an_example():
    assert curl_lines(), "README shows no curl line through 127.0.0.1:1080"


@pytest.mark.parametrize("line", curl_lines())
def test_curl_examples(namespace, build, line):
    """In a network of its own, so that port 1080 is free and nothing leaves the machine."""
    words = shlex.split(line, comments=True)
    url = re.search(r"http://127\.0\.0\.1:(\d+|PORT)\S*", line)
    if not url:
        pytest.skip("leads out of this machine")
    port = 8000 if url.group(1) == "PORT" else int(url.group(1))
    words = [w.replace(":PORT", f":{port}") for w in words]
    with namespace:
        web = http.server.ThreadingHTTPServer(("127.0.0.1", port), Page)
        server = subprocess.Popen(
            [os.path.join(build, "sallyportd"), "-f", "-c",
             os.path.join(ROOT, "etc", "quickstart.conf")],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = bytearray()

        def collect():
            while data := os.read(server.stdout.fileno(), 4096):
                out.extend(data)
        reader = threading.Thread(target=collect, daemon=True)
        reader.start()
        threading.Thread(target=web.serve_forever, daemon=True).start()
        try:
            until(lambda: b"ready" in out or server.poll() is not None, "the server")
            env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
            done = subprocess.run([words[0], "-sS", *words[1:]], capture_output=True, timeout=30,
                                  check=False, env=env)
            assert done.returncode == 0, (done.stderr, bytes(out))
            assert b"from behind the sally port\n" in done.stdout
            until(lambda: b"this-machine" in out, lambda: f"the session's line in {bytes(out)!r}")
        finally:
            kids = children(server.pid)
            server.terminate()
            assert server.wait(15) == 0
            reader.join(5)
            server.stdout.close()
            web.shutdown()
            web.server_close()
    until(lambda: not any(alive(pid) for pid in kids), "its processes to end")
