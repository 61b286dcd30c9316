import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwright.errors import InvalidInput
from certwright.identifiers import identifier_type, parse_contact, parse_domains, parse_email

LONG_NAME = ".".join(["a" * 63] * 3 + ["a" * 57, "test"])


def refusal(*domains: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_domains(domains)
    assert caught.value.field == "domains"
    return caught.value.message


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (["example.com"], ("example.com",)),
        (["b.example, a.example"], ("b.example", "a.example")),
        (["b.example,a.example", " c.example "], ("b.example", "a.example", "c.example")),
        (["WWW.Example.COM."], ("www.example.com",)),
        (["bücher.example"], ("xn--bcher-kva.example",)),
        (["BÜCHER。example"], ("xn--bcher-kva.example",)),
        (["faß.de"], ("xn--fa-hia.de",)),
        (["\uff45\uff58ample.com"], ("example.com",)),
        (["*.example.com", "example.com"], ("*.example.com", "example.com")),
        (["*.example.com", "a.b.example.com"], ("*.example.com", "a.b.example.com")),
        (["*.bücher.example"], ("*.xn--bcher-kva.example",)),
        (["github.io", "*.github.io"], ("github.io", "*.github.io")),
        (["shop.test", "db.internal", "printer.local"], ("shop.test", "db.internal", "printer.local")),
        (["1.2.3.example", "123.test"], ("1.2.3.example", "123.test")),
        ([LONG_NAME[:253]], (LONG_NAME[:253],)),
        (["a" * 63 + ".test"], ("a" * 63 + ".test",)),
        (["www.city.kobe.jp"], ("www.city.kobe.jp",)),
    ],
)
def test_good_names_become_lower_case_a_labels_in_order(typed: list[str], names: tuple[str, ...]) -> None:
    assert parse_domains(typed) == names


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("localhost", "has no dot: give the full name"),
        ("com", "has no dot"),
        ("a" * 64 + ".test", "has a label longer than 63 octets"),
        ("ä" * 63 + ".test", "has a label longer than 63 octets"),
        (LONG_NAME, "is longer than 253 octets"),
        ("*." + LONG_NAME[2:], "is longer than 253 octets"),
        ("a." * 5000 + "test", "is longer than 253 octets"),
        ("ä" * 900 + ".test", "is longer than 253 octets"),
        ("a_b.example", "has an underscore"),
        ("a b.example", "has a space in it"),
        ("a\u00a0b.example", "has a space in it"),
        ("a!b.example", "has the character '!'"),
        ("a;b.example", "has the character ';'"),
        ("https://example.com/x", "is a URL: give the name alone"),
        ("HTTPS://example.com", "is a URL"),
        ("example.com:443", "has a port"),
        ("example.com\uff1a443", "has a port"),
        ("example.com/path", "has a path"),
        ("me@example.com", "is an e-mail address"),
        ("-a.example", "begins or ends with a hyphen ('-a')"),
        ("a-.example", "begins or ends with a hyphen"),
        ("a..example", "has an empty label"),
        (".example", "has an empty label"),
        ("a.example..", "has an empty label"),
        (".", "has an empty label"),
        ("ab--c.example", "is no valid internationalised name (Label has disallowed hyphens"),
        ("☃.example", "is no valid internationalised name (Codepoint U+2603"),
        ("xn--zzzzzz.example", "is no valid internationalised name (Invalid A-label)"),
        ("\ud800.example", "is no valid internationalised name"),
        ("www.*.example", "has a misplaced wildcard"),
        ("*.*.example.com", "has a misplaced wildcard"),
        ("a*.example.com", "has a misplaced wildcard"),
        ("*a.example.com", "has a misplaced wildcard"),
        ("*", "has a misplaced wildcard"),
        ("*.", "has a misplaced wildcard"),
        ("*.com", "is a wildcard over the top-level domain com"),
        ("*.co.uk", "is a wildcard over the public suffix co.uk: give a name below it, such as *.example.co.uk"),
        ("co.uk", "is a public suffix"),
        ("公司.cn", "is a public suffix"),
        ("foo.ck", "is a public suffix"),
        ("192.0.2.1.", "is an IP address"),
        ("*.192.0.2.1", "is an IP address"),
        ("\uff11\uff19\uff12.0.2.1", "is an IP address"),
        ("fe80::1%eth0", "is an IP address with something around it"),
        ("[192.0.2.1]", "is an IP address with something around it"),
        ("[2001:db8::1]:443", "is an IP address"),
        ("www.example.123", "ends in a number"),
    ],
)
def test_bad_name_is_refused_with_its_own_reason(typed: str, reason: str) -> None:
    assert reason in refusal("good.example", typed)


def test_every_bad_name_is_listed_at_once_in_order() -> None:
    message = refusal("a_b.example, fine.example", "localhost", "a.example,,b.example")
    assert re.findall(r"'([^']*)' (?:has|is)", message) == ["a_b.example", "localhost", ""]
    assert "'' is empty" in message
    assert "fine.example" not in message


@pytest.mark.parametrize("typed", [[], [""], [" , ,"]])
def test_no_name_at_all_is_refused(typed: list[str]) -> None:
    assert "name at least one" in refusal(*typed)


def test_hundred_names_pass_and_one_more_does_not() -> None:
    names = [f"n{i}.example" for i in range(101)]
    assert len(parse_domains([",".join(names[:100])])) == 100
    assert "101 domain names are given, and one certificate holds at most 100" in refusal(*names)


def test_duplicates_are_reported_with_both_spellings() -> None:
    message = refusal("bücher.example", "XN--BCHER-KVA.example", "a.example", "a.example")
    assert "'XN--BCHER-KVA.example' is the same name as 'bücher.example'" in message
    assert "'a.example' is given twice" in message


@pytest.mark.parametrize("typed", [("*.example.com", "www.example.com"), ("WWW.example.com", "*.example.com")])
def test_name_covered_by_a_wildcard_of_the_same_order_is_refused(typed: tuple[str, str]) -> None:
    assert "is already covered by *.example.com in the same order" in refusal(*typed)


def test_control_characters_are_echoed_escaped() -> None:
    message = refusal("evil\n\x1b[31m\u202e.example")
    assert message.isprintable()
    assert r"evil\n\x1b[31m\u202e.example" in message


def test_message_stays_bounded_however_bad_the_input() -> None:
    message = refusal(*["_" * 5000 + str(i) for i in range(100)])
    assert len(message) < 20_100
    shown = message.count("'") // 2
    assert shown == 100 or message.endswith(f"; and {100 - shown} more")


@given(st.text(min_size=1, max_size=200))
def test_refusal_of_any_text_is_one_printable_line(typed: str) -> None:
    assert refusal("_", typed).isprintable()


any_name = st.text(max_size=80) | st.from_regex(r"(\*\.)?[a-zäß☃_\-]{1,9}(\.[a-zü0-9\-]{1,9}){0,3}\.?", fullmatch=True)


@given(st.lists(any_name, max_size=4))
def test_any_text_is_refused_cleanly_or_becomes_stable_a_labels(typed: list[str]) -> None:
    try:
        names = parse_domains(typed)
    except InvalidInput:
        return
    assert parse_domains(names) == names
    for name in names:
        assert re.fullmatch(r"(\*\.)?([a-z0-9-]{1,63}\.)+[a-z0-9-]{1,63}", name)
        assert len(name) <= 253


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("admin@example.com", "admin@example.com"),
        (" Jo.Doe+certs@EXAMPLE.com. ", "Jo.Doe+certs@example.com"),
        ("post@bücher.example", "post@xn--bcher-kva.example"),
    ],
)
def test_address_keeps_its_local_part_and_gets_an_a_label_domain(typed: str, address: str) -> None:
    assert parse_email(typed, "email") == address


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "is empty"),
        ("admin", "is no e-mail address"),
        ("@example.com", "is no e-mail address"),
        ("mailto:a@example.com", "begins with mailto"),
        ("a@example.com?subject=x", "has header fields"),
        ("a@example.com,b@example.com", "is more than one address"),
        ("a@b@example.com", "is more than one address"),
        ("A <a@example.com>", "has a bad part before the @"),
        ("a..b@example.com", "has a bad part before the @"),
        ("a%0d@example.com", "has a bad part before the @"),
        ("ä@example.com", "has a bad part before the @"),
        ("a" * 65 + "@example.com", "has a bad part before the @"),
        ("a@localhost", "has a bad domain: 'localhost' has no dot"),
        ("a@*.example.com", "has a wildcard"),
        ("a@[192.0.2.1]", "has a bad domain: '[192.0.2.1]' is an IP address"),
        ("a" * 64 + "@" + LONG_NAME[:253], "is longer than 254 octets"),
    ],
)
def test_bad_address_is_refused_with_its_reason(typed: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(reason)) as caught:
        parse_email(typed, "email")
    assert caught.value.field == "email"


@given(st.text(max_size=40) | st.emails())
def test_any_address_is_refused_cleanly_or_stable(typed: str) -> None:
    try:
        address = parse_email(typed, "email")
    except InvalidInput:
        return
    assert parse_email(address, "email") == address
    assert parse_contact([f"mailto:{address}"]) == (f"mailto:{address}",)


def test_contacts_keep_their_order_and_lose_repeats() -> None:
    uris = ["MAILTO:b@Example.com", "tel:+442071838750", "mailto:b@example.com", "mailto:c%2Bd@example.com"]
    assert parse_contact(uris) == ("mailto:b@example.com", "tel:+442071838750", "mailto:c+d@example.com")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("mailto:a@example.com?subject=x", "has header fields"),
        ("mailto:a@example.com%3Fsubject=x", "has header fields"),
        ("mailto:a@example.com,b@example.com", "is more than one address"),
        ("mailto:a@example.com%2Cb@example.com", "is more than one address"),
        ("mailto:", "is empty"),
        ("a@example.com", "lacks its scheme"),
        ("tel:", "is no URI"),
        ("tel:1 2", "is no URI"),
        ("x:%zz", "is no URI"),
        ("", "is no URI"),
        ("tel:" + "1" * 600, "is no URI of up to 512 characters"),
    ],
)
def test_bad_contact_is_refused_with_its_reason(uri: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(reason)) as caught:
        parse_contact([uri])
    assert caught.value.field == "contact"


def test_too_many_contacts_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 10"):
        parse_contact([f"tel:{i}" for i in range(11)])


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_address_is_ordered_in_its_shortest_form(typed: str, address: str) -> None:
    assert parse_domains([f"a.example, {typed}"]) == ("a.example", address)
    assert (identifier_type(address), identifier_type("a.example")) == ("ip", "dns")


def test_address_given_twice_is_refused() -> None:
    assert "is the same name as" in refusal("2001:db8::1", "2001:DB8::0:1")


@given(st.ip_addresses())
def test_every_address_is_an_identifier(address: object) -> None:
    assert parse_domains([str(address)]) == (str(address),)
