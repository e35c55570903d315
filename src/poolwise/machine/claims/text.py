"""Text in the two languages that claims are written in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

Language: TypeAlias = Literal["en", "zh"]

#: The languages there are, the default first.
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Text(NamedTuple):
    """The same in English and in Chinese.

    >>> Text("a thread", "线程").in_("zh")
    '线程'
    """

    en: str
    zh: str

    def in_(self, language: Language) -> str:
        """Return it in `language`."""
        return self.zh if language == "zh" else self.en


#: Nothing to say.
NOTHING = Text("", "")


def joined(texts: Iterable[Text], *, by: Text) -> Text:
    """Return `texts` with `by` between them, in each language."""
    texts = list(texts)
    return Text(by.en.join(text.en for text in texts), by.zh.join(text.zh for text in texts))
