from urllib.parse import urlsplit

from certwright.ca.presets import PRESETS


def test_every_preset_is_an_https_directory_under_a_name_of_its_own() -> None:
    assert all(urlsplit(preset.url).scheme == "https" and urlsplit(preset.url).hostname for preset in PRESETS)
    assert len({preset.name for preset in PRESETS}) == len({preset.url for preset in PRESETS}) == len(PRESETS)


def test_only_lets_encrypt_opens_accounts_without_an_external_one() -> None:
    open_to_all = {preset.name for preset in PRESETS if not preset.external_account_required}
    assert open_to_all == {"Let's Encrypt", "Let's Encrypt Staging"}


def test_what_is_called_staging_is_marked_as_such() -> None:
    assert [preset.staging for preset in PRESETS] == ["Staging" in preset.name for preset in PRESETS]
