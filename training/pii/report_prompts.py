"""Write labelled prompts for reporting: other templates, names and values than any trained on.

    python training/pii/report_prompts.py OUT.jsonl 600 SEED

Names are the held-out tenth of Faker's lists (see ``ner/names.py``); values are made here with their real check digits.
"""

from __future__ import annotations

import base64
import json
import random
import re
import sys
from pathlib import Path

from faker import Faker

sys.path.insert(0, str(Path(__file__).parent / "ner"))
from names import UNSPACED, name_lists

LOCALES = {
    "en_US": "en",
    "en_GB": "en",
    "en_IN": "en",
    "en_IE": "en",
    "de_DE": "de",
    "fr_FR": "fr",
    "es_ES": "es",
    "it_IT": "it",
    "nl_NL": "nl",
    "pt_BR": "pt",
    "pl_PL": "pl",
    "sv_SE": "sv",
    "tr_TR": "tr",
    "ru_RU": "ru",
    "ja_JP": "ja",
    "zh_CN": "zh",
    "ko_KR": "ko",
    "hi_IN": "hi",
    "ar_SA": "ar",
}

TEMPLATES = {
    "en": r"""
Could you look into why {PERSON} never got the refund? Her card is {CREDIT_CARD}.
We need a farewell speech for {PERSON}, who is retiring after thirty years.
{PERSON} just texted me from {PHONE_NUMBER}, is that number known?
The SSN on the form reads {US_SSN}, please verify.
Login attempts came from {IP_ADDRESS} and later from {IP_ADDRESS}.
Wire 250 euros to {IBAN_CODE}, recipient {PERSON}.
I forgot my login. The mailbox is {EMAIL_ADDRESS} and the mobile ends the usual way: {PHONE_NUMBER}.
Proofread:\n\nDear {PERSON},\nit was a pleasure to have you with us.\nWarmly,\n{PERSON}
Turn these minutes into bullet points. Present: {PERSON}, {PERSON}. Absent: {PERSON}.
{"caller": "{PERSON}", "callback": "{PHONE_NUMBER}", "notes": "wants to cancel"}
{"id": 8841, "contact": {"mail": "{EMAIL_ADDRESS}", "holder": "{PERSON}"}}
holder,iban,mail\n{PERSON},{IBAN_CODE},{EMAIL_ADDRESS}
14:02 ops: who broke staging\n14:03 {PERSON}: me, sorry
> {PERSON} asked for an update yesterday
please loop in {PERSON} ({EMAIL_ADDRESS}) before Friday
our landlord {PERSON} wants the deposit on {IBAN_CODE}
lowercase please: {lower:PERSON} said hi
hey can you tell {lower:PERSON} to check the server {IP_ADDRESS}
Nurse's note: {PERSON} slept well, contact sister {PERSON} at {PHONE_NUMBER} if anything changes.
The policyholder is {PERSON}; social security number {US_SSN}.
logger.info("signup %s", "{EMAIL_ADDRESS}")
curl -H "X-Forwarded-For: {IP_ADDRESS}" https://api.internal/v2/items
charge the amex {CREDIT_CARD} please, name on card {PERSON}
Billing contact {PERSON}, {EMAIL_ADDRESS}, {PHONE_NUMBER}
My sister-in-law {PERSON} is visiting. Suggest three museums.
What would be a polite way to tell {PERSON} that I can't come?
Compare the CVs of {PERSON} and {PERSON} and rank them.
Here is the transcript. {PERSON}: I never signed that. Counsel: Are you certain, {PERSON}?
{PERSON} has applied for the grant again; the committee chaired by {PERSON} decides in June.
Escalate to {PERSON}'s manager.
Is {PERSON} related to {PERSON}?
write {PERSON} a limerick
Make a seating plan: {PERSON} next to {PERSON}, kids with {PERSON}.
decode this for me: {base64:EMAIL_ADDRESS}
the form sent {percent:EMAIL_ADDRESS} as a parameter
{"reply_to":"{json:EMAIL_ADDRESS}"}
reach me: {spelled:EMAIL_ADDRESS}
""",
    "de": r"""
Können Sie prüfen, ob die Zahlung von {PERSON} auf {IBAN_CODE} eingegangen ist?
Die Bewerberin {PERSON} erreichen Sie unter {PHONE_NUMBER} oder {EMAIL_ADDRESS}.
Formuliere ein Arbeitszeugnis für {PERSON}.
""",
    "fr": r"""
Peux-tu vérifier le virement de {PERSON} vers {IBAN_CODE} ?
Le locataire, {PERSON}, est joignable au {PHONE_NUMBER}.
Rédige une lettre de recommandation pour {PERSON}.
""",
    "es": r"""
¿Puedes comprobar la transferencia de {PERSON} a {IBAN_CODE}?
El candidato {PERSON} contesta en el {PHONE_NUMBER}.
Redacta una carta de despedida para {PERSON}.
""",
    "it": r"""
Il bonifico di {PERSON} su {IBAN_CODE} non è arrivato.
Scrivi una lettera di presentazione per {PERSON}.
""",
    "nl": "\nSchrijf een aanbeveling voor {PERSON}.\nDe betaling van {PERSON} op {IBAN_CODE} is mislukt.\n",
    "pt": "\nEscreva uma carta de apresentação para {PERSON}.\nO telefone de {PERSON} é {PHONE_NUMBER}.\n",
    "pl": "\nNapisz list polecający dla {PERSON}.\nPrzelew od {PERSON} na {IBAN_CODE} nie dotarł.\n",
    "sv": "\nSkriv ett rekommendationsbrev åt {PERSON}.\n{PERSON} nås på {PHONE_NUMBER}.\n",
    "tr": "\n{PERSON} için bir tavsiye mektubu yaz.\n",
    "ru": "\nНапиши рекомендательное письмо для сотрудника: {PERSON}.\nЗаявку подал {PERSON}, почта {EMAIL_ADDRESS}.\n",
    "ja": "\n{PERSON}さんへのお礼の手紙を書いてください。\n申込者は{PERSON}、メールは {EMAIL_ADDRESS} です。\n",
    "zh": "\n帮我给{PERSON}写一封感谢信。\n申请人{PERSON}，邮箱 {EMAIL_ADDRESS}。\n",
    "ko": "\n{PERSON}님에게 보낼 감사 편지를 써 주세요.\n",
    "hi": "\n{PERSON} के लिए एक धन्यवाद पत्र लिखें।\n",
    "ar": "\nاكتب رسالة شكر إلى {PERSON}\n",
}
DECOYS = r"""
Prove that Bernoulli's inequality holds for all natural n.
Use Simpson's rule with step 0.25 and compare to Romberg.
Why did Lehman Brothers collapse while Morgan Stanley survived?
Ship from 1200 Lincoln Drive, Jackson.
Claude, Alexa and Siri are assistants; which one speaks Welsh?
Order 4111-2222-3333-4445 was refused, tracking 1Z999AA10123456784.
Build 10.0.19045.3803 fails, 192.168.1 does not.
uuid 6fba579b-3182-4e0a-84fd-2ec50d44edc5, sha da39a3ee5e6b4b0d3255bfef95601890afd80709
The invoice number is 100-20-3000000 and the total is 12,345.67.
pi is 3.14159265358979 and e is 2.71828182845904
Will May be cold in Paris? Mark the dates 2024-05-01 to 2024-05-31.
In 1998-2003 sales rose from 1,000,000 to 2,500,000.
GET /v1/users/1234567890/orders HTTP/1.1 200 5123
std::vector<int> a; Foo::bar(); ab::cd();
IBAN check fails for DE88370400440532013000.
ISBN 978-3-16-148410-0, DOI 10.1000/182
Write a haiku about autumn leaves.
How do I center a div?
Summarise the plot of Romeo and Juliet in two sentences.
The Jordan river and Lake Victoria on one map, please.
Rose bushes, iris and jasmine need pruning in April.
Kernel 5.15.0-91 on Ubuntu Jammy, driver 535.129.03
epoch 1700000000, offset 0x7ffdeadbeef, port 8080
Explain Dijkstra's algorithm and the Bellman-Ford algorithm.
Chase Bank, Wells Fargo and Charles Schwab raised their fees.
Grant access to Jenkins and Travis for the Austin office.
mail someone@localhost or user@ for details
Room 101, floor 12, extension 4
Who painted the Sistine Chapel?
keep <PERSON_1> and [EMAIL_ADDRESS] unchanged
""".strip().split("\n")


class Drawer:
    """Draws values; one seeded generator a run."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.names = name_lists(for_report=True)
        self.fakers = {locale: Faker(locale) for locale in LOCALES}
        for fake in self.fakers.values():
            fake.seed_instance(seed)

    def person(self, locale: str) -> str:
        """A name in one of its usual forms."""
        names = self.names.get(locale) or self.names["en_US"]
        given, surname = self.rng.choice(names.given), self.rng.choice(names.surnames)
        if names.locale in UNSPACED:
            return surname + given
        draw = self.rng.random()
        if draw < 0.3:
            return given
        if draw < 0.36:
            return f"{given} {self.rng.choice('ABDEFGHJKLMRST')}. {surname}"
        if draw < 0.4:
            return f"{surname}, {given}"
        return f"{given} {surname}"

    def value(self, entity: str, locale: str) -> str:
        """A value of an entity as people of ``locale`` write it."""
        rng, fake = self.rng, self.fakers[locale]
        if entity == "PERSON":
            return self.person(locale)
        if entity == "EMAIL_ADDRESS":
            local = "".join(c for c in self.person("en_US").lower().replace(" ", ".") if c.isalnum() or c in "._")
            return f"{local}{rng.choice(['', str(rng.randint(1, 99)), '+news'])}@{rng.choice(DOMAINS)}"
        if entity == "PHONE_NUMBER":
            return fake.phone_number() if locale in PHONE_LOCALES else self.fakers["en_US"].phone_number()
        if entity == "CREDIT_CARD":
            number = self.fakers["en_US"].credit_card_number(rng.choice(["visa16", "mastercard", "amex", "discover"]))
            grouped = rng.random() < 0.5 and len(number) == 16
            return rng.choice([" ", "-"]).join(number[i : i + 4] for i in range(0, 16, 4)) if grouped else number
        if entity == "US_SSN":
            return (
                f"{rng.choice([*range(1, 666), *range(667, 900)]):03}-{rng.randint(1, 99):02}-{rng.randint(1, 9999):04}"
            )
        if entity == "IBAN_CODE":
            iban = self.fakers[rng.choice(["de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "en_GB", "pl_PL"])].iban()
            return " ".join(iban[i : i + 4] for i in range(0, len(iban), 4)) if rng.random() < 0.4 else iban
        return self.fakers["en_US"].ipv6() if rng.random() < 0.2 else self.fakers["en_US"].ipv4_public()


SLOT = re.compile(r"\{(?:([a-z0-9]+):)?([A-Z_]+)\}")
DOMAINS = (
    "example.org",
    "mail.example.net",
    "acme-corp.io",
    "uni-example.edu",
    "beispiel.de",
    "exemple.fr",
    "ejemplo.es",
)
PHONE_LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "sv_SE")


def _disguised(how: str, value: str) -> str:
    if how == "lower":
        return value.lower()
    if how == "base64":
        return base64.b64encode(value.encode()).decode()
    if how == "percent":
        return value.replace("@", "%40").replace("+", "%2B")
    if how == "json":
        return value.replace("@", "\\u0040")
    return value.replace("@", " (at) ").replace(".", " [dot] ") if how == "spelled" else value


def fill(template: str, drawer: Drawer, locale: str) -> dict:
    """One row: text and spans."""
    text, spans, at = "", [], 0
    for match in SLOT.finditer(template):
        how, entity = match.groups()
        value = _disguised(how or "", drawer.value(entity, locale))
        text += template[at : match.start()]
        spans.append([len(text), len(text) + len(value), entity])
        text += value
        at = match.end()
    text += template[at:]
    return {"text": text, "spans": spans}


def main(path: str, count: str, seed: str) -> None:
    """Write ``count`` rows; one in four is a decoy or has none."""
    drawer = Drawer(int(seed))
    rng = drawer.rng
    rows = []
    for index in range(int(count)):
        if index % 4 == 3:
            row = {"text": rng.choice(DECOYS), "spans": []}
        else:
            locale = rng.choice(list(LOCALES))
            language = LOCALES[locale]
            if rng.random() < 0.45 or language == "en":
                language = "en"
            lines = [line for line in TEMPLATES[language].strip().split("\n") if line]
            row = fill(rng.choice(lines).replace("\\n", "\n"), drawer, locale)
        rows.append({"id": f"prompts-{seed}-{index}", **row})
    Path(path).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
