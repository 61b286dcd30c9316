"""The use cases, by what they are about: each authorises its actor, does one thing, and commits it with its event.

Whatever is refused or fails is written to the audit trail too. What needs the ACME library imports it where it is used,
off the API's cold path.
"""

from certwright.account_keys import AccountKeys
from certwright.accounts import Accounts
from certwright.certificates import Certificates
from certwright.desk import Desk
from certwright.orders import Orders
from certwright.providers import Providers


class AcmeService:
    """Safe from any thread."""

    def __init__(self, desk: Desk) -> None:
        self.accounts = Accounts(desk)
        self.account_keys = AccountKeys(desk)
        self.orders = Orders(desk)
        self.certificates = Certificates(desk)
        self.providers = Providers(desk)
