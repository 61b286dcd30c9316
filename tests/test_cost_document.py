"""The bill in docs/aws-cost.md follows from the prices and amounts above it."""

import re

from tests.test_bench import WRITE_UNITS
from tests.test_documentation import ROOT, rows, section

PAGE = (ROOT / "docs" / "aws-cost.md").read_text()
COUNTS = (1_000, 100_000, 1_000_000)
ISSUED_A_MONTH = {90: 1 / 2, 45: 1}
"""Certificates issued for each in use, by their life in days."""


def table(title: str) -> list[list[str]]:
    return rows(PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0])


def bill(region: int) -> dict[str, list[float]]:
    """USD by service, for each number of certificates and each life."""
    prices = {row[0]: float(row[region]) for row in table("Prices")}
    found: dict[str, list[float]] = {}
    for name, issued, in_use, fixed, _ in table("Use"):
        unit = 1e6 if "million" in name else 1
        amounts = [
            count * (part * float(issued) + float(in_use)) + float(fixed)
            for count in COUNTS
            for part in ISSUED_A_MONTH.values()
        ]
        service = found.setdefault(name.partition(",")[0], [0.0] * len(amounts))
        for place, amount in enumerate(amounts):
            service[place] += amount * prices[name] / unit
    return found


def written(figure: float) -> str:
    return f"{figure:,.2f}" if figure < 10 else f"{figure:,.0f}"


def test_bill_is_what_prices_and_amounts_make() -> None:
    services = bill(1)
    totals = [[sum(column) for column in zip(*bill(region).values(), strict=True)] for region in (1, 2)]
    expected = [[name, *map(written, figures)] for name, figures in services.items()]
    names = ("**all**", "**all, in eu-west-1**")
    expected += [[name, *map(written, figures)] for name, figures in zip(names, totals, strict=True)]
    assert table("The bill") == expected, "\n".join(f"| {' | '.join(row)} |" for row in expected)


def test_every_price_has_its_amount() -> None:
    assert [row[0] for row in table("Prices")] == [row[0] for row in table("Use")]


def test_write_units_of_the_bill_are_those_that_are_measured() -> None:
    assert float(table("Use")[0][1]) == WRITE_UNITS, "change it in `Use`; the test above then says what the bill is"


def test_readme_names_the_bill_for_certificates_of_90_days() -> None:
    [total] = [row for row in table("The bill") if row[0] == "**all**"]
    told = " ".join(section("On AWS").split())
    for count, bill_of_90_days in zip(COUNTS, total[1::2], strict=True):
        assert re.search(rf"{re.escape(bill_of_90_days)} USD for {count:,}\b", told)
