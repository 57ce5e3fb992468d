"""The examples of `docs/cluster.md` can be read by what they are written for, and its launcher passes exit codes on."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

LAUNCHER = [sys.executable, "-m", "vqvae2.cli.launch", "--standalone", "--nproc-per-node=2"]
PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
SLEEPS_UNTIL_TOLD = """
import pathlib, signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
pathlib.Path(sys.argv[1], str(__import__("os").environ["RANK"])).touch()
while not told:
    time.sleep(0.05)
sys.exit(75)
"""


def example(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return block


def test_the_batch_script_is_a_script():
    done = subprocess.run(["bash", "-n"], input=example("sh"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_job_finds_its_service_and_is_not_failed_by_a_checkpoint():
    service, job = yaml.safe_load_all(example("yaml"))
    pod = job["spec"]["template"]["spec"]
    name = job["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    assert f"--master-addr={name}-0.{pod['subdomain']}" in container["command"]
    assert f"--nnodes={job['spec']['completions']}" in container["command"]
    assert job["spec"]["podFailurePolicy"]["rules"][0] == {
        "action": "Ignore",
        "onExitCodes": {"containerName": container["name"], "operator": "In", "values": [75]},
    }
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("code", [0, 75])
def test_the_launcher_ends_with_the_code_of_its_processes(tmp_path, code):
    script = tmp_path / "ends.py"
    script.write_text(f"raise SystemExit({code})")
    assert subprocess.run([*LAUNCHER, script], capture_output=True, check=False).returncode == code


def test_the_launcher_waits_for_its_processes_after_a_signal(tmp_path):
    script, begun = tmp_path / "sleeps.py", tmp_path / "begun"
    begun.mkdir()
    script.write_text(SLEEPS_UNTIL_TOLD)
    with subprocess.Popen([*LAUNCHER, script, begun], stderr=subprocess.PIPE) as process:
        while len(list(begun.iterdir())) < 2 and process.poll() is None:
            pass
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
