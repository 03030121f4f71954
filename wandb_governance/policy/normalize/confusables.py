"""Letters of other scripts that look like Latin ones."""

from __future__ import annotations

import re

from wandb_governance.policy.normalize.text import Mark, NormalizedText

_GROUPS = {
    "a": "аɑαᴀạ",
    "b": "ьЬʙƄ",
    "c": "сϲᴄⅽ",
    "d": "ԁɗᴅժ",
    "e": "еєҽᴇ℮ε",
    "f": "ғꜰϝ",
    "g": "ɡԍɢց",
    "h": "һհʜ",
    "i": "іıɪιӏї",
    "j": "јʝᴊϳ",
    "k": "κкᴋ",
    "l": "ⅼʟӏ",
    "m": "мᴍ",
    "n": "пռɴη",
    "o": "оοօᴏσ",
    "p": "рρᴘ",
    "q": "ԛգ",
    "r": "гʀᴦ",
    "s": "ѕꜱʂ",
    "t": "тᴛτ",
    "u": "υսᴜц",
    "v": "νѵᴠ",
    "w": "ԝωᴡѡ",
    "x": "хχ",
    "y": "уγʏү",
    "z": "ᴢʐ",
    "A": "АΑᎪ",
    "B": "ВΒᏴ",
    "C": "СϹᏟ",
    "D": "Ꭰ",
    "E": "ЕΕᎬ",
    "F": "Ϝ",
    "G": "ԌᏀ",
    "H": "НΗᎻ",
    "I": "ІΙӀ",
    "J": "ЈᎫ",
    "K": "КΚᏦ",
    "L": "Ꮮ",
    "M": "МΜᎷ",
    "N": "Ν",
    "O": "ОΟՕ",
    "P": "РΡᏢ",
    "Q": "Ԛ",
    "R": "ᎡᏒ",
    "S": "ЅՏᏚ",
    "T": "ТΤᎢ",
    "U": "Ս",
    "V": "ѴᏙ",
    "W": "ԜᎳ",
    "X": "ХΧ",
    "Y": "УΥҮ",
    "Z": "ΖᏃ",
}
_LATIN = {ord(other): latin for latin, others in _GROUPS.items() for other in others}
_WORD = re.compile(r"[^\W\d_]+")


def fold_confusables(view: NormalizedText) -> NormalizedText:
    """View with look-alike letters replaced by the Latin letters they imitate.

    A word is folded when it mixes Latin with look-alikes, or when all its letters are look-alikes in a text that is
    mostly Latin: a text in Russian or Greek stays as it is.

    Args:
        view: A normalised text.

    Returns:
        The same view when there is nothing to fold; else one with ``Mark.CONFUSABLE`` and the same offsets.
    """
    text = view.text
    if text.isascii():
        return view
    letters = [word.group() for word in _WORD.finditer(text)]
    total = sum(map(len, letters))
    latin = sum(char < "\x80" for word in letters for char in word)
    mostly_latin = latin * 2 > total

    def fold(match: re.Match[str]) -> str:
        word = match.group()
        if word.isascii():
            return word
        folded = word.translate(_LATIN)
        mixed = any(char < "\x80" for char in word)
        return folded if folded.isascii() and (mixed or (mostly_latin and len(word) > 1)) else word

    folded = _WORD.sub(fold, text)
    if folded == text:
        return view
    return NormalizedText(text=folded, starts=view.starts, ends=view.ends, marks=view.marks | {Mark.CONFUSABLE})
