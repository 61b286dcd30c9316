"""Everything Certwright itself refuses, each with a stable code.

    CertwrightError
    ├── NotFound            NOT_FOUND            no such object in the caller's tenant
    ├── Conflict            CONFLICT             the object changed meanwhile, or its state forbids this
    ├── InvalidInput        INVALID_INPUT        a value is wrong; `field` names it where known
    ├── Forbidden           FORBIDDEN            the role does not allow this
    ├── Unauthenticated     UNAUTHENTICATED      no credential, or not a good one
    └── Unavailable         UNAVAILABLE          try again later

What a certificate authority refuses is a `certwright.ca.problems.Problem` instead: its document is the CA's, not ours.
Messages say which value was wrong and what would be right, and never hold a secret.
"""


class CertwrightError(Exception):
    """The root: `code` is stable and reaches API clients as `extensions.code`."""

    code = "INTERNAL"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class NotFound(CertwrightError):
    code = "NOT_FOUND"


class Conflict(CertwrightError):
    code = "CONFLICT"


class InvalidInput(CertwrightError):
    code = "INVALID_INPUT"


class Forbidden(CertwrightError):
    code = "FORBIDDEN"


class Unauthenticated(CertwrightError):
    code = "UNAUTHENTICATED"


class Unavailable(CertwrightError):
    code = "UNAVAILABLE"
