"""The floor of issuance: the loop over the `acme` library that anyone would write, which stores nothing."""

from acme import challenges, messages
from acme.client import ClientNetwork, ClientV2
from acme.crypto_util import make_csr
from josepy.jwa import ES256

from certwright.ca.jws import load_key
from certwright.keys import generate_account_key, generate_key
from certwright.model import KeyType
from tests.support.pebble import Pebble


class Library:
    """One account, for all threads. REQUESTS_CA_BUNDLE must say how Pebble is trusted."""

    def __init__(self, ca: Pebble) -> None:
        self._ca = ca
        self._key = load_key(generate_account_key())
        network = ClientNetwork(self._key, alg=ES256, user_agent="bench")
        self._client = ClientV2(ClientV2.get_directory(ca.directory_url, network), network)
        contact = messages.NewRegistration.from_data(email="a@example.com", terms_of_service_agreed=True)
        self._client.new_account(contact)

    def issue(self, domain: str) -> str:
        """The chain for one name. The library gives up at the second badNonce in a row: begin anew."""
        while True:
            try:
                return self._issue(domain)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise

    def _issue(self, domain: str) -> str:
        order = self._client.new_order(make_csr(generate_key(KeyType.EC_P256), [domain]))
        authorization = order.authorizations[0].body
        if authorization.status != messages.STATUS_VALID:
            [challenge] = [c for c in authorization.challenges if isinstance(c.chall, challenges.DNS01)]
            response, value = challenge.response_and_validation(self._key)
            self._ca.management.set_txt(challenge.validation_domain_name(domain), value)
            self._client.answer_challenge(challenge, response)
        return str(self._client.poll_and_finalize(order).fullchain_pem)
