"""What is personal data and what only looks like it, entity by entity."""

from __future__ import annotations

import pytest

from wandb_governance.errors import PolicyDocumentError
from wandb_governance.policy.rules.pii import PiiOptions, PiiRule

# (text with the value in ⟦ ⟧, entity)
FOUND = [
    ("write to ⟦maria.g+x@example.co.uk⟧.", "EMAIL_ADDRESS"),
    ("<mailto:⟦maria@example.com⟧>", "EMAIL_ADDRESS"),
    ("⟦françois@exämple.fr⟧ wrote", "EMAIL_ADDRESS"),
    ("https://⟦ada@example.com⟧/x", "EMAIL_ADDRESS"),
    ("⟦ada at example dot com⟧ please", "EMAIL_ADDRESS"),
    ("邮箱：⟦wang@example.cn⟧。", "EMAIL_ADDRESS"),
    ("call ⟦+49 30 901820⟧ now", "PHONE_NUMBER"),
    ("my cell: ⟦(415) 555-2671⟧", "PHONE_NUMBER"),
    ("⟦415-555-2671⟧", "PHONE_NUMBER"),
    ("Tel. ⟦030 901820⟧", "PHONE_NUMBER"),
    ("Phone: ⟦001-321-194-8268x44208⟧", "PHONE_NUMBER"),
    ("电话⟦+86 138 1234 5678⟧", "PHONE_NUMBER"),
    ("card ⟦4111 1111 1111 1111⟧ 12/27", "CREDIT_CARD"),
    ("⟦4111-1111-1111-1111⟧", "CREDIT_CARD"),
    ("amex ⟦378282246310005⟧", "CREDIT_CARD"),
    ("numéro de carte ⟦5555555555554444⟧", "CREDIT_CARD"),
    ("my ssn is ⟦536-22-8145⟧", "US_SSN"),
    ("⟦536-22-8145⟧", "US_SSN"),
    ("social security number 536228145".replace("536228145", "⟦536228145⟧"), "US_SSN"),
    ("IBAN ⟦GB29 NWBK 6016 1331 9268 19⟧ please", "IBAN_CODE"),
    ("⟦DE89370400440532013000⟧", "IBAN_CODE"),
    ("from ⟦192.0.2.17⟧:443", "IP_ADDRESS"),
    ("http://[⟦2001:db8::1⟧]:8080/", "IP_ADDRESS"),
    ("host ⟦fe80::1ff:fe23:4567:890a⟧ is up", "IP_ADDRESS"),
    ("mac ⟦00:1A:2B:3C:4D:5E⟧", "MAC_ADDRESS"),
    ("send to ⟦1BoatSLRHtKNngkdXEeobR76b53LETtpyT⟧", "CRYPTO"),
    ("send to ⟦bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq⟧", "CRYPTO"),
    ("0x⟧".replace("0x⟧", "⟦0x52908400098527886E0F7030069857D2E4169EE7⟧"), "CRYPTO"),
    ("born on ⟦12/05/1980⟧", "DATE_OF_BIRTH"),
    ("geboren am ⟦3. Mai 1975⟧", "DATE_OF_BIRTH"),
    ("passport no. ⟦X1234567⟧", "PASSPORT"),
    ("my driver's license number is ⟦F162823540116⟧", "DRIVER_LICENSE"),
    ("account number ⟦12345678⟧", "BANK_ACCOUNT"),
    ("DNI ⟦12345678Z⟧", "ES_NIF"),
    ("NIE ⟦X1234567L⟧", "ES_NIE"),
    ("CF ⟦RSSMRA85T10A562S⟧", "IT_FISCAL_CODE"),
    ("Steuer-ID ⟦36 574 261 809⟧", "DE_TAX_ID"),
    ("NIR ⟦2 95 10 99 126 111 93⟧", "FR_NIR"),
    ("NHS number ⟦943 476 5870⟧", "UK_NHS"),
    ("NI ⟦AB 12 34 56 C⟧", "UK_NINO"),
    ("CPF ⟦390.533.447-05⟧", "BR_CPF"),
    ("aadhaar ⟦2341 2341 2346⟧", "IN_AADHAAR"),
    ("PAN ⟦ACUPA7085R⟧", "IN_PAN"),
    ("TFN ⟦123 456 782⟧", "AU_TFN"),
    ("ABN ⟦83 914 571 673⟧", "AU_ABN"),
    ("⟦S1234567D⟧", "SG_NRIC"),
    ("PESEL ⟦44051401359⟧", "PL_PESEL"),
    ("⟦19900101-0017⟧", "SE_PERSONNUMMER"),
    ("⟦11010519491231002X⟧", "CN_RESIDENT_ID"),
    ("BSN ⟦111222333⟧", "NL_BSN"),
    ("AHV ⟦756.9217.0769.85⟧", "CH_AHV"),
]
NOTHING = [
    "release 10.0.19045.3 and version 1.2.3.4",
    "id 41111111111111111234567890123",
    "card 4111 1111 1111 1112",
    "DE88370400440532013000",
    "6fba579b-3182-4e0a-84fd-2ec50d44edc5 da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "ssn 000-12-3456, 666-12-3456, 123-00-4567, 123-45-0000",
    "order 100-20-3000000, invoice 2024-05-01, from 1998-2003",
    "pi 3.14159265358979, price 1,234,567.89",
    "std::vector<int> ab::cd Foo::bar() 12:30:45",
    "user@ and @maria and a@b and maria@home tomorrow",
    "epoch 1700000000, 1700000000000 ms",
    "ISBN 978-3-16-148410-0",
    "keep <EMAIL_1> and [REDACTED] and <PHONE_NUMBER_2> as they are",
    "12345678A is no DNI, X1234567A no NIE, S1234567A no NRIC",
    "the meeting is on 12/05/1980",
    "total 36574261809 apples, 943 476 5871 NHS",
    "",
]


@pytest.mark.parametrize(("marked", "entity"), FOUND)
def test_a_value_is_found_whole_and_named(marked: str, entity: str, pattern_rule: PiiRule) -> None:
    """The finding covers the value and nothing else."""
    start, end = marked.index("⟦"), marked.index("⟧") - 1
    text = marked.replace("⟦", "").replace("⟧", "")
    assert [(f.start, f.end, f.entity) for f in pattern_rule.find(text)] == [(start, end, entity)]


@pytest.mark.parametrize("text", NOTHING)
def test_what_only_looks_like_it_stays(text: str, pattern_rule: PiiRule) -> None:
    """Wrong checksum, range, shape or context: no finding."""
    assert [(f.entity, text[f.start : f.end]) for f in pattern_rule.find(text)] == []


def test_an_escape_before_a_value_is_no_part_of_it(pattern_rule: PiiRule) -> None:
    """In JSON the ``n`` of a line break stays, so the document stays JSON."""
    text = r'{"text":"hi\nmaria@example.com"}'
    (finding,) = pattern_rule.find(text)
    assert text[finding.start : finding.end] == "maria@example.com"


def test_only_the_entities_asked_for_are_found() -> None:
    """Other tools' names for an entity are understood; what was not asked for stays."""
    rule = PiiRule.from_options({"entities": ["email"]})
    assert [f.entity for f in rule.find("a@example.com 192.0.2.1")] == ["EMAIL_ADDRESS"]


def test_the_threshold_decides_what_counts() -> None:
    """An SSN by its shape alone scores lower than one that is named."""
    strict = PiiRule.from_options({"entities": ["US_SSN"], "threshold": 0.9})
    assert [len(strict.find(text)) for text in ("536-22-8145", "ssn 536-22-8145")] == [0, 1]


def test_user_patterns_join_the_shipped_ones() -> None:
    """A named pattern of the document becomes an entity of its own."""
    rule = PiiRule.from_options(
        {"entities": ["EMAIL_ADDRESS"], "detect_patterns": [{"name": "badge", "pattern": r"B-\d{4}"}]}
    )
    assert [(f.entity, f.rule) for f in rule.find("B-1234 a@example.com")] == [
        ("BADGE", "pii.user.badge"),
        ("EMAIL_ADDRESS", "pii.email"),
    ]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"entity": ["PERSON"]}, "entity"),
        ({"entities": ["PERSONS"]}, "entities"),
        ({"entities": []}, "entities"),
        ({"threshold": 2}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"regions": ["XX"]}, "regions"),
        ({"decode": "yes"}, "decode"),
        ({"detect_patterns": ["(?=a)b"]}, "detect_patterns[0]"),
        ({"detect_patterns": [{"name": "x", "patern": "a"}]}, "detect_patterns[0].patern"),
    ],
)
def test_an_option_that_cannot_be_enforced_is_refused(options: dict[str, object], key: str) -> None:
    """The error names the key."""
    with pytest.raises(PolicyDocumentError) as caught:
        PiiRule.from_options(options)
    assert caught.value.key == key


def test_the_version_changes_with_what_is_looked_for() -> None:
    """Two rules with the same answers share a version; others don't."""
    one, same = (PiiRule(PiiOptions(entities=("US_SSN",))) for _ in range(2))
    other = PiiRule(PiiOptions(entities=("US_SSN",), threshold=0.9))
    assert one.version == same.version != other.version
