# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Run the gateway
#
# At the end an unchanged `openai` client talks to a model through the gateway: personal data is replaced on the way out,
# put back on the way in, and an audit log proves what happened.
#
# Needs `pip install "wandb-governance[gateway]" openai`. No account, no key, no network. About 15 seconds.

# %% [markdown]
# ## A model
#
# A small server that answers like a provider stands in for one. Use your provider's `base_url` in its place.

# %%
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

seen = []


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        seen.append(body["messages"][-1]["content"])
        text = "I will write to " + seen[-1].split()[-1] + " and copy boss@example.com."
        chunks = [{"delta": {"content": c}, "index": 0, "finish_reason": None} for c in text]
        chunks.append({"delta": {}, "index": 0, "finish_reason": "stop"})
        self.send_response(200)
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"data: " + json.dumps({"id": "1", "model": "m", "choices": [chunk]}).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *args):
        pass


model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=model.serve_forever, daemon=True).start()

# %% [markdown]
# ## The policy file and the gateway

# %%
from pathlib import Path
from tempfile import mkdtemp

folder = Path(mkdtemp())
(folder / "policy-config.yaml").write_text(
    f"""
pack: {{name: front-door, version: 1.0.0}}
providers:
  targets:
    - {{id: model, provider: openai-compatible, base_url: "http://127.0.0.1:{model.server_port}/v1"}}
policies:
  chain: [pii-detector, secrets, audit-logger]
  policy:
    pii-detector: {{entities: [EMAIL_ADDRESS, PHONE_NUMBER], redaction: {{reversible: true}}}}
    secrets: {{action: block}}
    audit-logger: {{immutable: true, retention_days: 365}}
"""
)

# %%
import os
import socket
import subprocess
import sys
import time
import urllib.request

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
command = [sys.executable, "-m", "wandb_governance", "gateway", "run", "--listen", f"127.0.0.1:{port}"]
environ = {**os.environ, "WANDB_GOVERNANCE_HOME": str(folder / "home"), "WANDB_MODE": "offline"}
gateway = subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.DEVNULL)
for _ in range(300):
    try:
        print(json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/health"))["status"])
        break
    except OSError:
        time.sleep(0.1)

# %% [markdown]
# ## An unchanged client

# %%
import openai

client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any")
ask = [{"role": "user", "content": "Please invite maria@example.com"}]
stream = client.chat.completions.create(model="m", messages=ask, stream=True)
print("".join(chunk.choices[0].delta.content or "" for chunk in stream))

# %% [markdown]
# The model saw a pseudonym. Your own value came back; the address that the model added did not.

# %%
print(seen[0][:29], "maria" in seen[0])

# %%
try:
    secret = "sk-proj-Zx8Kq2Wm7Rt5Yb3Nc9Vd1Fg4Hj6Lp0QsT2uV"
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"the key is {secret}"}])
except openai.BadRequestError as error:
    print(error.body["code"], "by", error.body["policy"], "| reached the model:", len(seen) > 1)

# %% [markdown]
# ## What happened, and a proof of it
#
# The same on the command line: `wandb-governance events list --limit 10`, `events verify`, `events prove`.

# %%
gateway.terminate()
gateway.wait(30)

from wandb_governance.policy.audit import check_proof, prove, read_records, verify

audit = folder / "home" / "audit"
calls = [record for record in read_records(audit) if record["kind"] == "call"]
for call in calls:
    print(call["facts"]["outcome"], call["facts"]["status"], call["facts"]["found"])
report = verify(audit)
print("verified:", report.ok, "| proof holds:", check_proof(prove(audit, calls[0]["event"])))

# %%
assert report.ok
assert "maria" not in str(calls)
model.shutdown()

# %% [markdown]
# Next: `promote_with_gates`.
