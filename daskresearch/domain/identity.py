"""Who an experiment is: its id for people and its key for random streams.

The id is the first 8 hex digits of the md5 of the config's text (as in BatchFlow), then 8 decimal
digits. The digits and the key follow the seed and the config's content, never its place in the
domain, so that a grown domain keeps what it had. Equal configs are told apart by their
*occurrence*.
"""

from __future__ import annotations

import hashlib

from daskresearch.domain.config import Config

_DIGITS = 10**8
_STRIDE = 61_803_399  # coprime to 10**8: the occurrences of one config never share their digits


def identify(config: Config, entropy: bytes) -> tuple[str, bytes]:
    """Return the id of a config's experiment and the key of its random streams.

    Parameters
    ----------
    config : Config
    entropy : bytes
        What the seed of the run gives (see `daskresearch.domain.streams.entropy_of`).

    Returns
    -------
    str
        16 digits, behind the config's prefix if it has one.
    bytes
        The key, of 16 bytes and the occurrence.

    Examples
    --------
    >>> identify(Config(()), b"seed")[0][:8]
    'b8c9f031'
    """
    # repr quotes the texts, so that no two configs have the same content as {'a': '1-b_2'} and
    # {'a': 1, 'b': 2} do
    texts = sorted([(entry.name, entry.alias) for entry in config.entries])
    content = repr((config.repetition, texts))
    digest = hashlib.blake2b(content.encode(), digest_size=24, key=entropy).digest()
    number = int.from_bytes(digest[16:], "big") + config.occurrence * _STRIDE + config.updates
    text = hashlib.md5(_joined(texts, config).encode(), usedforsecurity=False).hexdigest()[:8]
    name = f"{text}{number % _DIGITS:08d}"
    if config.prefix:
        name = f"{config.prefix}_{config.repetition:02d}_{name}"
    return name, b"%b-%d-%d" % (digest[:16], config.updates, config.occurrence)


def _joined(texts: list[tuple[str, str]], config: Config) -> str:
    """Return the texts ``key_value`` with repetition and updates, joined by ``-``.

    They are sorted by key, as in BatchFlow.
    """
    items = sorted(
        [*texts, ("repetition", str(config.repetition)), ("updates", str(config.updates))]
    )
    return "-".join(["_".join(item) for item in items])
