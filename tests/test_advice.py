"""What is advised before a CA is asked: CAA records from a real name server, files from a real web server."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from certwright.challenges.advice import Adviser
from certwright.challenges.preparation import HttpFile
from certwright.local.test_ca import free_port
from tests.support.bind import Bind
from tests.support.web_server import Request, Response, WebServer

CA = ("ca.example", "CA.example.net")
ACCOUNT = "https://ca.example/acct/1"
FILE = HttpFile("http://www.h.example/.well-known/acme-challenge/t", "/.well-known/acme-challenge/t", "t.thumbprint")
LOOPBACK = ("127.0.0.0/8",)

RECORDS = """
good CAA 0 issue "ca.example"
other CAA 0 issue "other.example"
both CAA 0 issue "other.example"
both CAA 0 issue "ca.example.net; unknown=1"
nobody CAA 0 issue ";"
malformed CAA 0 issue "%%%"
wild CAA 0 issue "ca.example"
wild CAA 0 issuewild "other.example"
onlywild CAA 0 issuewild ";"
mail CAA 0 iodef "mailto:a@c.example"
critical CAA 128 tbs "unknown"
upper CAA 128 ISSUE "CA.EXAMPLE"
account CAA 0 issue "ca.example; accounturi=https://ca.example/acct/1"
stranger CAA 0 issue "ca.example; accounturi=https://ca.example/acct/2"
accounts CAA 0 issue "ca.example; accounturi=https://ca.example/acct/1; accounturi=https://ca.example/acct/2"
dns CAA 0 issue "ca.example; validationmethods=dns-01"
http CAA 0 issue "ca.example; validationmethods=http-01,x"
tls CAA 0 issue "ca.example; validationmethods=tls-alpn-01"
alias CNAME other
"""


HOSTS = """
www A 127.0.0.1
second A 127.0.0.1
private A 10.0.0.1
mixed A 127.0.0.1
mixed A 10.0.0.1
none TXT x
"""


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    zones = {"c.example": RECORDS, "h.example": HOSTS}
    with Bind(tmp_path_factory.mktemp("bind") / "named", zones, broken=["broken.example"]) as bind:
        yield bind


def caa(bind: Bind, *domains: str, identities: tuple[str, ...] = CA) -> list[tuple[str, str]]:
    found = Adviser([bind.place]).caa(domains, identities, account_url=ACCOUNT)
    return [(advice.code, advice.message) for advice in found]


@pytest.mark.parametrize(
    "name", ["good", "both", "mail", "upper", "account", "absent", "onlywild", "x.y.good", "dns", "http"]
)
def test_records_that_allow_the_ca_are_not_spoken_of(bind: Bind, name: str) -> None:
    assert caa(bind, f"{name}.c.example") == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other", "let others issue, and not ca.example or ca.example.net"),
        ("a.b.other", "let others issue"),
        ("alias", "let others issue"),
        ("nobody", "let no CA issue"),
        ("malformed", "let no CA issue"),
        ("critical", "critical tag 'tbs'"),
        ("stranger", "let ca.example issue for another account only"),
        ("accounts", "let ca.example issue for another account only"),
        ("tls", "other validation methods only than dns-01 and http-01"),
    ],
)
def test_records_that_forbid_the_ca_are_told_with_the_reason(bind: Bind, name: str, reason: str) -> None:
    ((code, message),) = caa(bind, f"{name}.c.example")
    assert code == "caaForbids"
    assert reason in message
    assert f"CAA records of {'other' if 'other' in name else name}.c.example" in message


@pytest.mark.parametrize(
    ("name", "forbidden"),
    [("*.wild", True), ("wild", False), ("*.onlywild", True), ("*.good", False), ("*.http", True)],
)
def test_wildcards_have_tags_and_methods_of_their_own(bind: Bind, name: str, forbidden: bool) -> None:
    assert bool(caa(bind, f"{name}.c.example")) == forbidden


def test_without_the_identities_of_a_ca_only_what_forbids_all_is_seen(bind: Bind) -> None:
    assert caa(bind, "other.c.example", identities=()) == []
    assert len(caa(bind, "nobody.c.example", "critical.c.example", identities=())) == 2


def test_each_advice_names_its_identifier(bind: Bind) -> None:
    found = Adviser([bind.place]).caa(["good.c.example", "*.other.c.example", "nobody.c.example"], CA)
    assert [advice.identifier for advice in found] == ["*.other.c.example", "nobody.c.example"]


def test_records_that_cannot_be_read_are_told_of(bind: Bind) -> None:
    ((code, message),) = caa(bind, "www.broken.example")
    assert code == "caaUnreadable"
    assert "SERVFAIL" in message
    assert "DNSSEC" in message


def test_silent_resolvers_make_no_advice() -> None:
    adviser = Adviser([f"127.0.0.1:{free_port()}"], seconds=0.5)
    assert adviser.caa(["a.example"] * 100, CA) == ()
    assert adviser.http01("a.example", FILE) == ()


def test_addresses_have_no_caa_and_a_file_as_names_have(bind: Bind) -> None:
    assert caa(bind, "192.0.2.1", "2001:db8::1") == []
    with WebServer(lambda _: (404, b"", {})) as server:
        adviser = Adviser([bind.place], networks=LOOPBACK, http_port=server.port)
        assert [advice.code for advice in adviser.http01("127.0.0.1", FILE)] == ["httpDiffers"]


def site(**answers: Response) -> WebServer:
    """Hosts of h.example with what they answer for the file; everything else is not there."""

    def answer(request: Request) -> Response:
        host = request.headers["Host"].partition(".")[0]
        return answers[host] if request.path == FILE.path else (404, b"not here", {})

    return WebServer(answer)


def look(bind: Bind, server: WebServer, host: str, **changes: Any) -> list[tuple[str, str]]:
    settings = {"networks": LOOPBACK, "http_port": server.port, "seconds": 3, **changes}
    found = Adviser([bind.place], **settings).http01(f"{host}.h.example", FILE)
    return [(advice.code, advice.message) for advice in found]


GOOD: Response = (200, FILE.content.encode() + b"\n", {})


def test_a_file_that_is_there_is_not_spoken_of(bind: Bind) -> None:
    with site(www=GOOD) as server:
        assert look(bind, server, "www") == []
    assert [(r.method, r.path) for r in server.requests] == [("GET", FILE.path)]


def test_redirects_are_followed_as_a_ca_would(bind: Bind) -> None:
    with site(www=GOOD) as server:
        place = f"http://www.h.example:{server.port}"
        server.answer = lambda request: (
            GOOD if request.headers["Host"].startswith("www") else (302, b"", {"Location": place + request.path})
        )
        assert look(bind, server, "second") == []
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        ((200, b"other", {}), "httpDiffers", "another content"),
        ((404, b"", {}), "httpDiffers", "status 404"),
        ((302, b"", {"Location": FILE.path}), "httpUnreachable", "more than 10 redirects"),
        ((302, b"", {}), "httpUnreachable", "redirects to nowhere"),
        ((302, b"", {"Location": "gopher://www.h.example/"}), "httpUnreachable", "no URL"),
        ((302, b"", {"Location": "http://www.h.example:22/"}), "httpUnreachable", "redirects to port 22"),
        ((302, b"", {"Location": "http://none.h.example/"}), "httpUnreachable", "none.h.example has no address in DNS"),
    ],
)
def test_a_file_that_is_not_there_is_told_of(bind: Bind, answer: Response, code: str, reason: str) -> None:
    with site(www=answer) as server:
        ((told, message),) = look(bind, server, "www")
    assert told == code
    assert message.startswith(f"http://www.h.example{FILE.path}")
    assert reason in message
    assert "other" not in message.removesuffix("another content than it should")


def test_a_web_server_that_is_down_is_told_of(bind: Bind) -> None:
    with site() as server:
        ((code, message),) = look(bind, server, "www", http_port=free_port())
    assert code == "httpUnreachable"
    assert "refused the connection" in message


def test_a_web_server_that_is_silent_is_given_up(bind: Bind) -> None:
    waiting = threading.Event()

    def answer(_: Request) -> Response:
        waiting.wait(30)
        return GOOD

    with WebServer(answer) as server:
        ((code, _),) = look(bind, server, "www", seconds=1)
        waiting.set()
    assert code == "httpUnreachable"


@pytest.mark.parametrize("host", ["private", "mixed", "www"])
def test_addresses_that_are_not_public_are_left_alone(bind: Bind, host: str) -> None:
    networks = () if host == "www" else LOOPBACK
    with site(www=GOOD, mixed=GOOD) as server:
        assert look(bind, server, host, networks=networks) == []
    assert server.requests == []


def test_a_redirect_to_an_address_that_is_not_public_is_left_alone(bind: Bind) -> None:
    with site(www=(302, b"", {"Location": "http://private.h.example/secret"})) as server:
        assert look(bind, server, "www") == []
    assert len(server.requests) == 1
