"""What stands for a key is HMAC-SHA256 as others compute it, and whose secret it was is told by a mark."""

from __future__ import annotations

from pydantic import SecretStr

from model.predictions.pseudonym import Pseudonyms


def test_a_pseudonym_is_the_hmac_of_rfc_4231() -> None:
    first = Pseudonyms(SecretStr("\x0b" * 20))
    assert first("Hi There") == "b0344c61d8db38535ca8afceaf0bf12b"  # section 4.2
    second = Pseudonyms(SecretStr("Jefe"))
    assert second("what do ya want for nothing?") == "5bdcc146bf60754e6a042426089575c7"  # section 4.3


def test_without_a_secret_keys_stay_as_they_are() -> None:
    plain = Pseudonyms(None)
    assert (plain("17"), plain.mark) == ("17", "")


def test_a_mark_tells_secrets_apart_and_does_not_tell_them() -> None:
    one, other = Pseudonyms(SecretStr("a secret of some length")), Pseudonyms(SecretStr("another one of some length"))
    assert len(one.mark) == len(other.mark) == 8
    assert one.mark != other.mark
    assert one.mark == Pseudonyms(SecretStr("a secret of some length")).mark
    assert one("17") != other("17")


def test_any_text_has_one() -> None:
    assert len({Pseudonyms(SecretStr("s" * 16))(text) for text in ("", "é", "e\u0301", "\ud800", "\0")}) == 5
