"""Which human stands behind an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_governance.registry.keys import VerifyKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_governance.registry.document import GovernanceDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A name in some system."""

    system: str
    """``wandb``, ``email``, ``jira``, ``servicenow``, ``github``, ``credoai``."""
    name: str

    def __str__(self) -> str:
        return f"{self.system}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorship:
    """Who made a candidate or asked for its promotion."""

    people: frozenset[str]
    """Person ids; none of them may approve."""
    unknown: tuple[Account, ...]
    """Accounts that ``governance.yaml`` does not map to anyone: any approver could be behind them."""


class Directory:
    """The people of ``governance.yaml``. Names compare without case; an account that is not listed is nobody's."""

    def __init__(self, document: GovernanceDocument) -> None:
        self._people = {person.id: person for person in document.people}
        self._humans = {
            (system, name.casefold()): person.id
            for person in document.people
            for system, names in person.accounts.items()
            for name in names
        }
        self._machines = {
            (system, name.casefold()): account.responsible
            for account in document.service_accounts
            for system, names in account.accounts.items()
            for name in names
        }

    def person(self, account: Account) -> str | None:
        """The human whose account this is; None for a machine's or an unknown one."""
        return self._humans.get((account.system, account.name.casefold()))

    def behind(self, account: Account) -> str | None:
        """The human who answers for the account: its owner, or the one responsible for a machine's."""
        key = (account.system, account.name.casefold())
        return self._humans.get(key) or self._machines.get(key)

    def roles(self, person: str) -> frozenset[str]:
        """Roles of a person now; empty for one who left."""
        known = self._people.get(person)
        return frozenset(known.roles) if known else frozenset()

    def knows(self, person: str) -> bool:
        """Whether the person is listed."""
        return person in self._people

    def keys(self, person: str) -> tuple[VerifyKey, ...]:
        """Public keys of a person now; empty for one who left."""
        known = self._people.get(person)
        return tuple(VerifyKey.parse(key) for key in known.keys) if known else ()

    def owner_of(self, key: VerifyKey) -> str | None:
        """Whose public key this is."""
        return next((name for name in self._people if key in self.keys(name)), None)

    def authors(self, accounts: Iterable[Account]) -> Authorship:
        """The people behind the accounts that made or requested something."""
        people, unknown = set(), []
        for account in accounts:
            if not account.name:
                continue
            person = self.behind(account)
            if person is None:
                unknown.append(account)
            else:
                people.add(person)
        return Authorship(people=frozenset(people), unknown=tuple(unknown))
