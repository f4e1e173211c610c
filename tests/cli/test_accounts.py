"""Every way to sign in, and that no secret is left anywhere."""

from __future__ import annotations

from subprocess import PIPE

import pytest

from cli.desk import OAUTH, TIMEOUT_S, Desk, wait_until

ACCESS, SECRET = OAUTH["QIANFAN_AK"], OAUTH["QIANFAN_SK"]
IAM = {"QIANFAN_ACCESS_KEY": ACCESS, "QIANFAN_SECRET_KEY": SECRET}
TOKEN = {"QIANFAN_ACCESS_TOKEN": "desk-static-token-5566"}
NONE = {"QIANFAN_NO_AUTH": "1"}
SECRETS = (ACCESS, SECRET, TOKEN["QIANFAN_ACCESS_TOKEN"], "access_token=", "client_secret", "bce-auth-v1")


def secretless(desk: Desk, *texts: str) -> None:
    """Neither these texts nor anything in the run directories holds a secret."""
    everything = "\n".join([*texts, desk.texts()])
    assert [secret for secret in SECRETS if secret in everything] == []


@pytest.mark.parametrize(
    ("auth", "environ"),
    [("oauth", OAUTH), ("iam", IAM), ("auto", OAUTH), ("auto", IAM), ("token", TOKEN), ("none", {})],
)
def test_signed_in(desk: Desk, keyed_desk: Desk, auth: str, environ: dict[str, str]) -> None:
    """OAuth, IAM, a static token and none each carry a run through and leave no secret behind."""
    user = desk if auth in ("token", "none") else keyed_desk
    user.environ = dict(environ)
    user.rows(["good", "{{fault: 503 times=1}} later", "{{fault: 336003}} never", "{{fault: drop}} gone"])
    user.job(service={"base_url": user.server.base_url, "auth": auth})
    checked, ran = user.type("check", "job.yaml"), user.type("run", "job.yaml")
    assert (checked.code, ran.code) == (0, 1), checked.err + ran.err
    assert user.results()["status"].to_list() == ["succeeded", "succeeded", "failed", "failed"]
    report = user.type("report", "job.yaml", "--format", "json")
    secretless(user, checked.out, checked.err, ran.out, ran.err, report.out)


def test_keys_from_the_env_file(keyed_desk: Desk) -> None:
    """Keys in `.env` of the working directory count, and the environment wins over them."""
    lines = "".join(f"{name}={value}\n" for name, value in OAUTH.items())
    (keyed_desk.path / ".env").write_text(lines)
    keyed_desk.environ = {}
    keyed_desk.rows(2)
    keyed_desk.job()
    done = keyed_desk.process("run", "job.yaml")
    assert done.code == 0, done.err
    secretless(keyed_desk, done.out, done.err)
    keyed_desk.environ = {"QIANFAN_SK": "another-secret"}
    assert keyed_desk.type("check", "job.yaml").code == 5


@pytest.mark.parametrize(
    "environ", [{**OAUTH, "QIANFAN_SK": "x" + SECRET}, {**IAM, "QIANFAN_SECRET_KEY": "x" + SECRET}, TOKEN]
)
def test_refused_keys_stay_secret(keyed_desk: Desk, environ: dict[str, str]) -> None:
    """Keys that the service refuses are named by their variables, never shown."""
    keyed_desk.environ = dict(environ)
    keyed_desk.rows(2)
    keyed_desk.job()
    checked, ran = keyed_desk.type("check", "job.yaml"), keyed_desk.type("run", "job.yaml")
    assert (checked.code, ran.code) == (5, 5)
    secretless(keyed_desk, checked.out, checked.err, ran.out, ran.err)


def test_keys_stay_secret_where_nothing_listens(desk: Desk) -> None:
    """A connection that fails shows neither the token's URL nor the keys in it."""
    desk.environ = dict(TOKEN)
    desk.rows(1)
    desk.job(service={"base_url": "http://127.0.0.1:1"}, retry={"retry_count": 1})
    checked, ran = desk.type("check", "job.yaml"), desk.type("run", "job.yaml")
    assert checked.code == 5
    secretless(desk, checked.out, checked.err, ran.out, ran.err)


def test_tokens_revoked_on_the_way(keyed_desk: Desk) -> None:
    """A token revoked in the middle of a run is renewed once for all rows in flight, and nothing fails."""
    keyed_desk.rows(60)
    endpoint = keyed_desk.job(endpoint="echo,delay=0.15", limits={"concurrency": 4})
    with keyed_desk.running("run", "job.yaml", "--log-format", "json", stderr=PIPE) as process:
        wait_until(lambda: len(keyed_desk.server.calls(endpoint)) >= 8, process)
        revoked = keyed_desk.server.revoke_tokens()
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    assert revoked >= 1
    assert err.count("the access token was renewed") == 1
    assert keyed_desk.server.revoke_tokens() == 1
    assert keyed_desk.results()["status"].to_list() == ["succeeded"] * 60
    secretless(keyed_desk, err)
