"""A process that calls a model for ever and says on standard output which calls have returned to it."""

from __future__ import annotations

import os
import sys

import wandb
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from wandb_governance_langchain import GovernanceCallbackHandler


def main(threads: int) -> None:
    """Call from ``threads`` threads until killed; each returned call is a line with its LangChain run id."""
    import threading

    from langchain_core.callbacks import BaseCallbackHandler

    class Returned(BaseCallbackHandler):
        """Remembers the id of this thread's model call."""

        def __init__(self) -> None:
            self.local = threading.local()

        def on_chat_model_start(self, *args: object, run_id: object, **kwargs: object) -> None:
            self.local.run_id = run_id

    run = wandb.init(project="crash", settings=wandb.Settings(silent=True, console="off", x_disable_stats=True))
    handler, returned = GovernanceCallbackHandler(run=run), Returned()
    chain = ChatPromptTemplate.from_template("{q}") | FakeListChatModel(responses=["yes"]) | StrOutputParser()

    def call() -> None:
        number = 0
        while True:
            chain.invoke({"q": f"question {number}"}, config={"callbacks": [handler, returned]})
            os.write(1, f"{returned.local.run_id}\n".encode())
            number += 1

    os.write(1, f"run {run.id}\n".encode())
    for _ in range(threads):
        threading.Thread(target=call).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
