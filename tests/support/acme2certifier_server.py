"""Serves acme2certifier over TLS: `python -m tests.support.acme2certifier_server PORT DNS_PORT CERTIFICATE KEY`.

ACME_SRV_CONFIGFILE names its settings. It asks DNS servers at port 53 alone; here they are asked at DNS_PORT.
"""

import ssl
import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import dns.resolver


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "HTTPS": "on"}

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, *args: Any) -> None:
        """Nothing: what it does is in its own log."""


def main(port: str, dns_port: str, certificate: str, key: str) -> None:
    class Resolver(dns.resolver.Resolver):
        def reset(self) -> None:
            super().reset()
            self.port = int(dns_port)

    dns.resolver.Resolver = Resolver  # type: ignore[misc]  # the only way to another port
    from acme2certifier.share.acme2certifier_wsgi import application  # type: ignore[import-untyped]  # it has no types

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with make_server("127.0.0.1", int(port), application, _Server, _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
