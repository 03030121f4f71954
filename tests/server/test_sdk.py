"""The unmodified SDK against a real server process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.server.conftest import SdkScript


def test_a_run_is_read_back_as_it_was_logged(sdk: SdkScript) -> None:
    """Config, tags, history, nested metrics, summary, files and state survive the round trip."""
    out = sdk(
        """
        import json, wandb
        with wandb.init(project="basics", config={"lr": 0.1}, tags=["a"]) as run:
            for i in range(20):
                run.log({"loss": 1 / (i + 1), "n": {"x": i}})
            run.summary["best"] = 3
        read = wandb.Api().run(run.path)
        rows = list(read.scan_history(keys=["_step", "loss"]))
        print(json.dumps({
            "state": read.state, "config": read.config, "tags": read.tags, "best": read.summary["best"],
            "rows": len(rows), "last": rows[-1]["loss"], "nested": list(read.scan_history())[-1]["n"]["x"],
            "files": sorted(f.name for f in read.files()),
        }))
        """
    )
    read = json.loads(out.splitlines()[-1])
    assert read["state"] == "finished"
    assert read["config"] == {"lr": 0.1}
    assert read["tags"] == ["a"]
    assert read["best"] == 3
    assert (read["rows"], read["last"], read["nested"]) == (20, 0.05, 19)
    assert {"config.yaml", "wandb-metadata.json", "wandb-summary.json"} <= set(read["files"])


def test_tables_of_all_three_modes_are_read_back(sdk: SdkScript) -> None:
    """IMMUTABLE and MUTABLE give their last rows, INCREMENTAL every increment in order."""
    out = sdk(
        """
        import json, wandb
        with wandb.init(project="tables") as run:
            run.log({"fixed": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])})
            changing = wandb.Table(columns=["a"], log_mode="MUTABLE")
            growing = wandb.Table(columns=["a"], log_mode="INCREMENTAL")
            for i in range(3):
                changing.add_data(i)
                growing.add_data(i)
                run.log({"changing": changing, "growing": growing})
        found = {}
        with wandb.init(project="tables") as reader:
            found["fixed"] = reader.use_artifact(f"run-{run.id}-fixed:latest").get("fixed").data
            found["changing"] = reader.use_artifact(f"run-{run.id}-changing:latest").get("changing").data
            increments = reader.use_artifact(f"run-{run.id}-incr-growing:latest")
            names = sorted(increments.manifest.entries, key=lambda name: int(name.split("-")[1].split(".")[0]))
            found["growing"] = increments.get(names[-1]).data
            found["entries"] = len(names)
        print(json.dumps(found))
        """
    )
    found = json.loads(out.splitlines()[-1])
    assert found["fixed"] == [[1, "x"], [2, "y"]]
    assert found["changing"] == [[0], [1], [2]]
    assert found["entries"] == 3
    assert found["growing"] == [[0], [1], [2]]


def test_an_artifact_is_logged_used_downloaded_and_linked(sdk: SdkScript) -> None:
    """The version found by an alias in the registry is the one that was logged, and both runs are in its lineage."""
    out = sdk(
        """
        import json, os, pathlib, wandb
        pathlib.Path("x.txt").write_text("hello")
        with wandb.init(project="artifacts") as maker:
            artifact = wandb.Artifact("set", "dataset", metadata={"rows": 1})
            artifact.add_file("x.txt")
            maker.log_artifact(artifact, aliases=["prod"]).wait()
            maker.link_artifact(artifact, "wandb-registry-model/Set", aliases=["staging"])
        with wandb.init(project="artifacts") as user:
            used = user.use_artifact("wandb-registry-model/Set:staging")
            text = (pathlib.Path(used.download("down")) / "x.txt").read_text()
        source = wandb.Api().artifact("artifacts/set:prod")
        print(json.dumps({
            "text": text, "aliases": sorted(used.aliases), "source": used.source_name, "metadata": source.metadata,
            "maker": source.logged_by().id == maker.id, "users": [r.id for r in source.used_by()] == [user.id],
        }))
        """
    )
    found = json.loads(out.splitlines()[-1])
    assert found == {
        "text": "hello",
        "aliases": ["latest", "staging"],
        "source": "set:v0",
        "metadata": {"rows": 1},
        "maker": True,
        "users": True,
    }
