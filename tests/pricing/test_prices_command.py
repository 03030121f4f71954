"""``wandb-governance prices`` as a user types it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from wandb_governance.cli.main import app, main

if TYPE_CHECKING:
    from pathlib import Path


def test_show_prints_the_price_of_a_day() -> None:
    """o3 cost five times as much before June 2025."""
    done = CliRunner().invoke(app, ["prices", "show", "o3", "--at", "2025-01-01", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["price"]["per_mtok"] == {"input": "10", "output": "40", "cache_read": "0.5"}
    assert found["reason"] is None


def test_show_prints_a_table_for_people() -> None:
    """Unit, price, thresholds and source."""
    done = CliRunner().invoke(app, ["prices", "show", "gpt-5.5", "--provider", "openai"])
    assert done.exit_code == 0
    for text in ("USD per million tokens", "cache read", "input above 272,000 tokens", "Source: genai-prices"):
        assert text in done.stdout


def test_show_takes_a_users_table_and_a_tier(tmp_path: Path) -> None:
    """Own prices come first."""
    file = tmp_path / "prices.yaml"
    file.write_text(
        "version: 1\nprices:\n  - model: gpt-4o\n    service_tier: flex\n    per_mtok: {input: 1, output: 2}\n"
    )
    arguments = ["prices", "show", "gpt-4o", "--provider", "openai", "--tier", "flex", "--table", str(file), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert json.loads(done.stdout)["price"]["per_mtok"] == {"input": "1", "output": "2"}


@pytest.mark.parametrize("as_json", [False, True])
def test_show_says_no_with_exit_code_1(as_json: bool) -> None:
    """An unknown model has a reason, not a price."""
    done = CliRunner().invoke(
        app, ["prices", "show", "nonesuch", "--provider", "openai", *(["--json"] if as_json else [])]
    )
    assert done.exit_code == 1
    assert "unknown model 'nonesuch'" in (json.loads(done.stdout)["reason"] if as_json else done.stderr)


def test_check_counts_what_a_table_holds(tmp_path: Path) -> None:
    """A right table is a short answer."""
    file = tmp_path / "prices.yaml"
    file.write_text("version: 1\naliases: {bot: gpt-4o}\nprices:\n  - model: m\n    per_mtok: {input: 1}\n")
    done = CliRunner().invoke(app, ["prices", "check", str(file), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "ok": True,
        "file": str(file),
        "prices": 1,
        "aliases": 1,
        "unpriced_aliases": {},
    }


def test_check_finds_an_alias_that_leads_nowhere(tmp_path: Path) -> None:
    """A typing error in an alias would leave every call of that deployment without a cost."""
    file = tmp_path / "prices.yaml"
    file.write_text("version: 1\naliases: {bot: gtp-4o}\n")
    done = CliRunner().invoke(app, ["prices", "check", str(file)])
    assert done.exit_code == 1
    assert "'bot'" in done.stderr


def test_check_names_file_line_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first wrong line ends with exit code 2, on stderr or as JSON."""
    file = tmp_path / "prices.yaml"
    file.write_text("version: 1\nprices:\n  - model: m\n    per_mtok: {input: cheap}\n")
    with pytest.raises(SystemExit) as stopped:
        main(["prices", "check", str(file)])
    assert stopped.value.code == 2
    assert f"{file}:4: prices[0].per_mtok.input: 'cheap' is not a number" in capsys.readouterr().err
    done = CliRunner().invoke(app, ["prices", "check", str(file), "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["line"] == 4
