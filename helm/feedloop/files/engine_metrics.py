"""Passes on the engine's /metrics and nothing else: the engine itself listens on the pod's loopback, because its other routes ask for no key."""

import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENGINE = "http://127.0.0.1:8000/metrics"
PORT = 8001


class Relay(BaseHTTPRequestHandler):
    """GET /metrics, 502 while the engine does not answer, 404 for the rest."""

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(404)
            return
        try:
            with urllib.request.urlopen(ENGINE, timeout=5) as answer:
                body, kind = answer.read(), answer.headers.get("Content-Type", "text/plain")
        except (urllib.error.URLError, TimeoutError) as error:
            self.send_error(502, "the engine does not answer", str(error))
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A scrape every few seconds is no news."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), Relay).serve_forever()  # noqa: S104  Prometheus scrapes the pod from outside
