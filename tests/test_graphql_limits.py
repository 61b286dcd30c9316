"""Bounds on what a document may ask for, over HTTP and in the measure itself."""

import time

import pytest
from graphql import get_introspection_query, parse

from certwright.api.limits import MAX_ALIASES, MAX_DEPTH, MAX_DIRECTIVES, MAX_TOKENS, Size, measure
from tests.support.house import GraphQLFailed, House

_AGAIN = "account { orders { edges { node { account { orders { pageInfo { endCursor } } } } } } }"
DEEP = "orders { edges { node { " + _AGAIN + " } } }"
PAGES = "accounts { edges { node { orders { edges { node { account { orders { edges { cursor } } } } } } } } }"


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("{ a }", Size(1)),
        ("{ a { b { c } } d }", Size(3)),
        ("{ x: a y: b { z: c } }", Size(2, aliases=3)),
        ("{ a @skip(if: true) ... @skip(if: true) { b } }", Size(1, directives=2)),
        ("query @d { a }", Size(1, directives=1)),
        ("{ ...F } fragment F on Query { a { x: b } }", Size(2, aliases=1)),
        ("{ a { ...F } b { ...F } } fragment F on Query { x: c { d @e } }", Size(3, aliases=2, directives=2)),
        ("{ ...F } fragment F on Query { x: a ...F }", Size(1, aliases=1)),
        ("{ ...F } fragment F on Query { a ...G } fragment G on Query { b ...F }", Size(1)),
        ("{ ...Missing }", Size()),
        ("{ __schema { types { fields { type { ofType { x: name } } } } } }", Size(1, aliases=1)),
        ("query A { x: a } query B { y: a { b } }", Size(2, aliases=2)),
        ("{ a { edges { node { b { edges { cursor } } } } } c { edges { cursor } } }", Size(6, pages=2)),
    ],
)
def test_document_is_measured_with_its_fragments_spread_out(query: str, size: Size) -> None:
    assert measure(parse(query)) == size


def bomb(fragments: int, fields: str) -> str:
    """A document whose spread-out size doubles with every fragment."""
    doubling = (f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(fragments))
    return f"{{ ...F0 }} {' '.join(doubling)} fragment F{fragments} on Query {{ {fields} }}"


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("{" + DEEP + "}", f"11 levels of fields; {MAX_DEPTH} are allowed"),
        ("{" + PAGES + "}", "3 levels of connections; 2 are allowed"),
        ("{ ...F } fragment F on Query {" + DEEP + "}", "11 levels of fields"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(MAX_ALIASES + 1)) + "}", "31 aliases; 30 are allowed"),
        ("{ __typename " + "@skip(if: true) " * (MAX_DIRECTIVES + 1) + "}", "31 directives; 30 are allowed"),
        (bomb(120, "x: __typename"), "very many aliases"),
        (bomb(120, "__typename @skip(if: false)"), "very many directives"),
        ("{" + " __typename" * MAX_TOKENS + "}", f"more than {MAX_TOKENS} tokens"),
        ("{" + " a {" * 900 + " b " + "}" * 900 + "}", "nested too deeply"),
        ("{ orders(first: " + "[" * 900 + "]" * 900 + ") { edges { cursor } } }", "nested too deeply"),
    ],
)
def test_document_beyond_a_limit_is_refused_at_once(stub_house: House, query: str, what: str) -> None:
    start = time.monotonic()
    with pytest.raises(GraphQLFailed) as failed:
        stub_house.graphql(query)
    assert what in failed.value.message
    assert failed.value.code == "INVALID_INPUT"
    assert time.monotonic() - start < 5


def test_fragments_that_spread_out_to_nothing_new_are_answered(stub_house: House) -> None:
    assert stub_house.graphql(bomb(120, "__typename")) == {"__typename": "Query"}


def test_a_document_at_the_limits_is_answered(stub_house: House) -> None:
    aliases = " ".join(f"a{n}: __typename" for n in range(MAX_ALIASES))
    stub_house.graphql("{" + aliases + "}")
    natural = "orders { edges { node { challenges { error { subproblems { identifier } } } } } }"
    assert stub_house.graphql("{ accounts { edges { node { " + natural + " } } } }") == {"accounts": {"edges": []}}


def test_the_tools_introspection_is_within_the_limits(stub_house: House) -> None:
    stub_house.graphql(get_introspection_query(input_value_deprecation=True, directive_is_repeatable=True))


def test_same_document_is_refused_and_answered_alike_the_second_time(stub_house: House) -> None:
    for _ in range(2):
        assert stub_house.graphql("{ __typename }") == {"__typename": "Query"}
        for query in ("{" + DEEP + "}", "{ nope }", "{ nope"):
            with pytest.raises(GraphQLFailed):
                stub_house.graphql(query)
