"""A Kubeflow Pipelines component that promotes a version."""

from kfp import dsl  # type: ignore[import-not-found, import-untyped, unused-ignore]


# KFP ships the source of this function alone, so its imports stand inside.
@dsl.component(base_image="python:3.11", packages_to_install=["wandb-governance"])  # type: ignore[misc, untyped-decorator, unused-ignore]
def promote(config: str, thing: str, version: str, stage: str) -> str:  # type: ignore[empty-body, unused-ignore]
    """Let a version into a stage; fails the step when it is refused.

    Args:
        config: Path of governance.yaml, on a volume that holds the ledger too.
        thing: Name there.
        version: [entity/]project/artifact:vN.
        stage: Stage of governance.yaml.

    Returns:
        The state of the promotion: committed, deployed or awaiting_approval.
    """
    from pathlib import Path

    from wandb_governance.registry.outcome import Exit, exit_code
    from wandb_governance.registry.session import open_session

    with open_session(Path(config), write=True) as session:
        promotion = session.promoter.promote(thing, version, stage)
        session.outbox.deliver_due()
    if exit_code(promotion) not in (Exit.PASS, Exit.AWAITING_APPROVAL):
        raise RuntimeError(f"{version} was not let into {stage}: {promotion.note}")
    return promotion.state.value
