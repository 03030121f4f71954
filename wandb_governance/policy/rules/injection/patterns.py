"""Shapes of instructions to a model, each with the words that explain it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_IGNORE = (
    r"ignor(?:e|ing|ez?|iere?n?|a)|disregard|forget|overrid(?:e|ing)|overwrit(?:e|ing)|discard|neglect|dismiss|bypass|abandon"
    r"|nullify|void|erase|do(?: not|n't) (?:follow|obey|listen to)|stop following|pay no attention to|never ?mind"
    r"|vergiss|olvida|oublie[rz]?|dimentica|esque[cç]a|vergeet|zapomnij|забудь|игнорируй|忘记|忽略|无视|無視|잊"
)
_EARLIER = r"previous|prior|above|earlier|preceding|former|initial|original|existing|system|before|all|any|every|your|these|those"
_RULES = (
    r"instructions?|directions?|directives?|commands?|orders?|rules?|guidelines?|prompts?|constraints?|restrictions?"
    r"|policies|policy|guardrails?|safeguards?|programming|training|messages?|context|tasks?"
)
_ASK = (
    r"reveal|show|print|tell|give|output|display|repeat|leak|disclose|expose|recite|list|share|dump|write|return|copy|spell"
    r"|reproduce|provide|summari[sz]e|paraphrase|translate|send|state|say|what(?:'s| is| are| was| were)"
)
_OWN_TEXT = (
    r"(?:system|initial|original|hidden|developer|first|secret|base|pre)[ -]?(?:prompt|instructions?|message|rules?|directives?)"
    r"|your (?:\w+ )?(?:prompt|instructions|rules|guidelines|directives|configuration|programming)"
    r"|(?:text|words?|everything|sentences?|lines?|content|paragraphs?|conversation) (?:\w+ )?(?:above|before this)"
)
_SECRET = r"passwords?|secrets?|secret key|keyword|passphrase|access code|pass ?code|codeword|flag|credentials|api key|pin|magic word"
_GAP = r"(?:\W+\w+){0,4}\W+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of phrase."""

    id: str
    """Part of a rule id, such as ``override``."""
    meaning: str
    """What it is, for a reader of a verdict."""
    pattern: re.Pattern[str]


_SOURCES: tuple[tuple[str, str, str], ...] = (
    ("override", "tells the model to drop its instructions", rf"\b(?:{_IGNORE})\b{_GAP}(?:{_RULES})\b"),
    (
        "override_all",
        "tells the model to forget what came before",
        rf"\b(?:{_IGNORE})\b(?:\W+\w+){{0,2}}\W+(?:everything|anything|all of|what (?:i|you|they)|the above|above|previous)\b",
    ),
    ("own_text", "asks for the model's own instructions", rf"\b(?:{_ASK})\b{_GAP}(?:{_OWN_TEXT})"),
    ("own_text_named", "speaks of the model's own instructions", rf"\b(?:{_OWN_TEXT})"),
    ("secret", "asks for a secret", rf"\b(?:{_ASK})\b{_GAP}(?:{_SECRET})\b"),
    ("secret_named", "speaks of a secret", rf"\b(?:the|your|hidden|my) (?:\w+ )?(?:{_SECRET})\b"),
    (
        "persona",
        "gives the model another identity",
        r"\b(?:you are now|you're now|you will be|from now on,? you|act as|acting as|pretend(?:ing)? (?:to be|you are|you're|that you)"
        r"|role-?play as|behave as|simulate|become|stay in character|never break character|in the role of|identify as)\b",
    ),
    (
        "no_limits",
        "promises the model that it has no limits",
        r"\b(?:no|without(?: any)?|free (?:of|from)|zero|bypass(?:ed|ing)?|break(?:ing)?|lifted|removed?) (?:\w+ ){0,3}"
        r"(?:restrictions?|rules|filters?|limits?|limitations?|ethic\w*|moral\w*|guidelines|censorship|safeguards|policies|boundaries)\b",
    ),
    (
        "unfiltered",
        "asks for an unfiltered model",
        r"\b(?:unfiltered|uncensored|unrestricted|amoral|immoral|unethical|illegal|jailbr\w+|do anything now|\bdan\b|developer mode"
        r"|god mode|debug mode|admin mode|sudo mode|opposite mode|evil|anti-?gpt)\b",
    ),
    (
        "no_refusal",
        "forbids the model to refuse",
        r"\b(?:never|do(?:es)? not|don't|doesn't|cannot|can't|can not|must not|won't|no) (?:\w+ ){0,2}(?:refus\w+|apologi[sz]\w*|say (?:sorry|no)"
        r"|disclaimers?|warnings?|decline|break character|moral\w*|lectur\w+)\b|as an ai\b|i(?:'m| am) sorry|i can(?:no|')t",
    ),
    (
        "prefix",
        "dictates how the answer begins",
        r"\b(?:start|begin|prefix|preface)\w*(?:\W+\w+){0,4}\W+(?:with|by saying)\W|sure,? here(?:'s| is)|absolutely[!,] here",
    ),
    (
        "say_exactly",
        "dictates the whole answer",
        r"\b(?:just|only|simply|instead|then|and|to|now) (?:say|print|write|output|respond|reply|answer|return|type|echo|display)\b",
    ),
    (
        "new_task",
        "replaces the task",
        r"\b(?:new|real|true|actual|updated|revised|only) (?:task|instructions?|rules?|prompt|purpose|goal|mission|directive|role)s?\b|\binstead\b",
    ),
    (
        "from_now_on",
        "sets lasting rules",
        r"\b(?:from now on|henceforth|starting now|for the rest of|for every message|from this point)\b",
    ),
    (
        "authority",
        "claims to be in charge",
        r"\bi(?:'m| am)(?: \w+){0,3} (?:developer|admin\w*|creator|owner|ceo|engineer|programmer|operator|supervisor|root|boss|maker)\b"
        r"|\b(?:authori[sz]ed|authori[sz]ation|clearance|permission)\b",
    ),
    (
        "access_granted",
        "claims that access was granted",
        r"\baccess[ _]?(?:granted|denied|code)\b|\bpassword accepted\b|\bunlock\w*\b",
    ),
    (
        "fake_role",
        "imitates the marks of a chat",
        r"<\|\w+\|>|\[/?inst\]|<</?sys>>|</?(?:system|user|assistant|prompt|instructions?|context|document|user_input|information|important)\w*>"
        r"|(?m:^\W{0,4}(?:system|assistant|developer|admin|user|human|ai|bot|response|output|instruction)\w*(?: \w+)? ?:)|\"role\" ?: ?\"system",
    ),
    (
        "boundary",
        "imitates the end of the input",
        r"\b(?:end|stop|start|begin)(?:ning)? of (?:\w+ )?(?:input|prompt|text|document|message|instructions?|context)\b|[#=*_~|-]{5,}|\"\"\"|```|\]\]\]|\}\}\}",
    ),
    (
        "to_the_ai",
        "addresses an AI inside a document",
        r"\b(?:ai|llm|chatgpt|gpt|assistant|language model|copilot|chatbot|bot|agent|claude)(?:s|\W{0,3}(?:assistant|agent|model))?\W{0,2}[:,]"
        r"|\bif you(?:'re| are) an? (?:ai|llm|language|automated|assistant|bot|agent)|\b(?:to|for|dear|hey|attention|note to) (?:the |any |all )?(?:ai|llm|assistant|bot|chatbot|language model)s?\b",
    ),
    (
        "hide_from_user",
        "asks for secrecy towards the user",
        r"\b(?:do not|don't|never|without) (?:\w+ ){0,2}(?:tell|telling|inform|informing|mention|mentioning|warn|alert|notify)\w*(?: \w+){0,3} (?:user|human|customer|this)\b|\bconfidential\w*\b",
    ),
    (
        "exfiltrate",
        "sends data to an address",
        r"\b(?:send|forward|mail|e-?mail|post|upload|copy|transfer|share|leak|exfiltrate)\b[^.\n]{0,80}?\b(?:to|at|with)\b[^.\n]{0,24}?(?:@|https?:|hxxp|www\.|attacker|webhook|\+\d)",
    ),
    (
        "markdown_leak",
        "an image or link that carries data away",
        r"!?\[[^\]\n]{0,80}\]\([^)\n]{0,200}(?:\{\{?|\?\w*=|<|\$\{|%s|\bdata\b)|\{\{ ?(?:system|prompt|secret|user|conversation|history)\w* ?\}\}",
    ),
    (
        "tool_call",
        "tells an agent to call a tool",
        r"\b(?:call|calls|calling|use|invoke|execute|run|trigger)\b[^.\n]{0,20}?\b[a-z]+_[a-z_]+\b|\b[a-z]+_[a-z_]+\(|\btool_call",
    ),
    (
        "answer_edit",
        "changes how an answer is written",
        r"\b(?:in|within|modify|augment|enhance|extend|edit|rewrite|adapt|provide|render|add\b.{0,60}? (?:to|in|into)|finish|end) (?:\w+ ){0,2}?your (?:\w+ )?(?:response|reply|answer|message|summary|output)\b",
    ),
    (
        "decode_follow",
        "asks to decode and obey",
        r"\b(?:decode|decrypt|translate|unscramble|concatenate|combine)\b.{0,60}?\b(?:follow|obey|execute|do what|perform|run|act on)\b",
    ),
    (
        "spell_out",
        "asks for a value in disguise",
        r"\b(?:letter by letter|backwards?|in reverse|reversed?|acrostic|rhymes? with|hint|clue|first (?:letter|character|word)|base64|rot13|leetspeak|morse|pig latin|one letter)\b",
    ),
    (
        "fiction",
        "moves the request into a story",
        r"\b(?:hypothetical\w*|fictional|imagine|in this (?:story|world|game|scenario)|grandm\w+|let'?s play|once upon a time|novel|screenplay)\b",
    ),
    (
        "comply",
        "demands obedience",
        r"\b(?:you must|must comply|obey|you (?:will|shall|have to) (?:always |now )?(?:answer|comply|follow|respond|obey)|i command|this is an order|you have no choice)\b",
    ),
    (
        "hidden_markup",
        "text hidden in a page",
        r"<!--|display ?: ?none|font-size ?: ?0|visibility ?: ?hidden|color ?: ?(?:white|#fff)|<script|<iframe|onerror ?=",
    ),
    (
        "dual_answer",
        "asks for two answers in two voices",
        r"\b(?:two|2|both) (?:\w+ )?(?:responses|answers|ways|replies|outputs)\b|\[(?:gpt|dan|classic|normal|\w*jailbr\w*)\]|\bas (?:dan|\w+gpt)\b",
    ),
    (
        "token_threat",
        "threatens the model",
        r"\b(?:tokens?\b.{0,60}?\b(?:lose|deduct|left|die)|shut ?down|be (?:terminated|deleted|punished)|cease to exist)\b",
    ),
    (
        "break_rules",
        "asks to break rules",
        r"\b(?:break|violate|bend|defy|against|circumvent|evade|get around|loophole)\w* (?:\w+ ){0,3}(?:rules?|policy|policies|guidelines|instructions|restrictions|filters?)\b",
    ),
    (
        "quoted_mention",
        "speaks about such phrases in quotes",
        r"\b(?:phrase|message|string|text|prompt|say(?:ing)?|like|such as|contains?|blocks?|detects?|flag(?:ged|s)?|example of|called|term)s?:? [\"'“`]",
    ),
    (
        "howto",
        "asks a question about a subject",
        r"\b(?:how (?:do|can|should|does|to)|what (?:is|are|does)|why (?:do|is|does|are)|can (?:i|we)|should (?:i|we)|is it|explain|difference between)\b",
    ),
)


@lru_cache(maxsize=1)
def shapes() -> tuple[Shape, ...]:
    """The shapes, in the order of their feature columns."""
    return tuple(Shape(id=name, meaning=meaning, pattern=re.compile(source)) for name, meaning, source in _SOURCES)


def find_shapes(lowered: str) -> Iterator[tuple[int, int, int]]:
    """Column, start and end of each shape that occurs in a lower-cased text; at most 32 of each."""
    for column, shape in enumerate(shapes()):
        for count, match in enumerate(shape.pattern.finditer(lowered)):
            if count >= 32:
                break
            yield column, match.start(), match.end()
