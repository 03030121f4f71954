"""``python -m wandb_governance`` is the command line."""

from wandb_governance.cli.main import main

main()
