"""An Airflow sensor that promotes a version and waits for its approvals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.exceptions import AirflowFailException  # type: ignore[import-not-found, import-untyped, unused-ignore]
from airflow.sdk import BaseSensorOperator  # type: ignore[import-not-found, import-untyped, unused-ignore]

from wandb_governance.registry.outcome import Exit, exit_code
from wandb_governance.registry.promotion import OPEN
from wandb_governance.registry.report import promotion_json
from wandb_governance.registry.session import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence


class PromotionSensor(BaseSensorOperator):  # type: ignore[misc, unused-ignore]
    """Asks for a promotion at the first poke and drives it at each later one; done when the alias has moved.

    The worker needs the ledger's key in its environment, as the command line does. Use ``mode="reschedule"`` for
    approvals that take longer than a worker slot should be held.

    Args:
        config: Path of ``governance.yaml``.
        thing: Name there.
        version: ``[entity/]project/artifact:vN``; a template.
        stage: Stage of ``governance.yaml``.
        **kwargs: Of ``BaseSensorOperator``.
    """

    template_fields: Sequence[str] = ("config", "thing", "version", "stage")

    def __init__(self, *, config: str, thing: str, version: str, stage: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.thing = thing
        self.version = version
        self.stage = stage

    def poke(self, context: Any) -> bool:
        """Whether the version holds the alias; fails for good when it was refused."""
        with open_session(Path(self.config), write=True) as session:
            promotion = session.promoter.promote(self.thing, self.version, self.stage)
            if promotion.state in OPEN:
                self.log.info("promotion %s waits: %s", promotion.id, session.promoter.tally(promotion).missing)
                return False
            session.outbox.deliver_due()
        if exit_code(promotion) is not Exit.PASS:
            raise AirflowFailException(f"{self.version} was not let into {self.stage}: {promotion.note}")
        context["ti"].xcom_push(key="promotion", value=promotion_json(promotion))
        return True
