"""Wrong job files: every problem at once, each on its line, in words that say what must be."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_files import MINIMAL, load_text, problems_of

from qfbatch.errors import JobFileError

HEAD = "name: t\ninput: {path: r.jsonl, prompt: p}\nmodels: [{name: m, endpoint: e}]\n"  # three lines


IN_CAPITALS = "an environment variable in capitals, such as MY_KEY, not a key"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        # Unknown keys
        ("retries: 3", 'unknown key "retries"; did you mean "retry"?'),
        ("limits: {retry_count: 3}", 'limits: unknown key "retry_count"; it belongs under retry'),
        ("service: {path: x}", 'service: unknown key "path"; it belongs under input or output'),
        ("temperature: 1", 'unknown key "temperature"; it belongs under parameters'),
        ("limits: {qsp: 3}", 'limits: unknown key "qsp"; did you mean "qps"?'),
        (
            "limits: {request_timeouts: 3}",
            'limits: unknown key "request_timeouts"; did you mean "request_timeout", under retry?',
        ),
        (
            "budget: {zebra: 3}",
            'budget: unknown key "zebra"; the keys here are max_cost, max_total_tokens',
        ),
        ("? [a]\n: b", "a key must be text, not a list or mapping"),
        # Types
        ("retry: 5", "retry: must be a mapping, not 5"),
        ("retry: [5]", "retry: must be a mapping, not a list"),
        ("retry: {retry_count: 2.5}", "retry.retry_count: must be a whole number, not 2.5"),
        ("retry: {retry_count: true}", "retry.retry_count: must be a whole number, not true"),
        ("retry: {retry_count: '5'}", 'retry.retry_count: must be a whole number, not "5"'),
        ("retry: {retry_count: }", "retry.retry_count: must be a whole number, not null"),
        ("retry: {retry_err_codes: [1, x]}", 'retry.retry_err_codes[1]: must be a whole number, not "x"'),
        ("retry: {retry_err_codes: 1}", "retry.retry_err_codes: must be a list, not 1"),
        ("limits: {qps: true}", "limits.qps: must be a number, not true"),
        ("limits: {qps: 1_000}", 'limits.qps: must be a number, not "1_000"'),
        ("limits: {qps: .nan}", "limits.qps: must be a finite number, not nan"),
        ("limits: {qps: .inf}", "limits.qps: must be a finite number, not inf"),
        ("limits: {adaptive: yes}", 'limits.adaptive: must be true or false, not "yes"'),
        ("output: {path: 5}", "output.path: must be text, not 5; put it in quotes"),
        ("output: {path: [a]}", "output.path: must be text, not a list"),
        ("parameters: [1]", "parameters: must be a mapping, not a list"),
        # Ranges
        ("retry: {retry_count: -2}", "retry.retry_count: must be at least -1, not -2"),
        ("retry: {request_timeout: 0}", "retry.request_timeout: must be above 0, not 0"),
        ("retry: {backoff_factor: -1}", "retry.backoff_factor: must be at least 0, not -1"),
        ("limits: {concurrency: 0}", "limits.concurrency: must be at least 1, not 0"),
        ("limits: {concurrency: 1000000}", "limits.concurrency: must be at most 100000, not 1000000"),
        ("limits: {tpm: -5}", "limits.tpm: must be above 0, not -5"),
        ("budget: {max_total_tokens: 0}", "budget.max_total_tokens: must be at least 1, not 0"),
        (
            "limits: {concurrency: 99999999999999999999999}",
            "limits.concurrency: must be at most 100000, not a number of more than 18 digits",
        ),
        # Values
        ("output: {path: ''}", "output.path: must not be empty"),
        (
            "output: {path: s3:///x}",
            "output.path: not an address in object storage; write s3://bucket/prefix",
        ),
        (
            "output: {path: gs://bucket/x}",
            "output.path: neither a local path nor object storage; write a path or s3://bucket/prefix",
        ),
        ("output: {path: ' x'}", "output.path: must not start or end with a blank"),
        ('output: {path: "a\\0"}', "output.path: must not hold line breaks or control characters"),
        (
            "service: {api: openai, auth: iam}",
            "service.auth: must be auto, bearer or none for api openai, not iam",
        ),
        (
            "service: {auth: iam, key_env: MY_KEY}",
            "service.key_env: names a bearer key, but service.auth is iam",
        ),
        (
            "service: {key_env: abcd-0123}",
            f"service.key_env: must be the name of {IN_CAPITALS}",
        ),
        ("service: {api: opena}", 'service.api: must be qianfan, openai or openai-chat, not "opena"'),
        ("service: {api: qianfn}", 'service.api: must be qianfan, openai or openai-chat, not "qianfn"'),
        (
            "service: {auth: imm}",
            'service.auth: must be auto, iam, oauth, token, bearer or none, not "imm"; did you mean "iam"?',
        ),
        (
            "service: {auth: 0123456789abcdef0123456789abcdef}",
            "service.auth: must be auto, iam, oauth, token, bearer or none, not text of 32 characters",
        ),
        (
            "service: {base_url: aip.baidubce.com}",
            "service.base_url: must be a URL such as https://aip.baidubce.com, or local",
        ),
        (
            "service: {base_url: 'http://h:99999'}",
            "service.base_url: must be a URL such as https://aip.baidubce.com, or local",
        ),
        ("service: {base_url: 'http://h/?a=b'}", 'service.base_url: must end before any "?" or "#"'),
        ("service: {base_url: 'http://h/a b'}", "service.base_url: must be ASCII without blanks"),
        # Parameters
        (
            "parameters: {temperature: 1.5}",
            "parameters.temperature: must be above 0 and at most 1, not 1.5",
        ),
        (
            "parameters: {max_tokens: 5}",
            (
                "parameters.max_tokens: is not a parameter of this service; "
                "an additional body field goes under extra"
            ),
        ),
        (
            "parameters: {extra: {stream: 5}}",
            "parameters.extra.stream: must be true or false, not 5",
        ),
        (
            "parameters: {extra: 5}",
            "parameters.extra: must be a mapping of additional body fields, not 5",
        ),
        # Together
        (
            "budget: {max_cost: 5}",
            "budget.max_cost: no model has a price, so no cost is known; give models[].price",
        ),
        # Variables
        (
            "limits:  {qps: '${QPS}'}",
            (
                "limits.qps: the environment variable QPS is not set; set it, or give a default: "
                "${QPS:-default} (for a literal ${ write $${)"
            ),
        ),
        (
            "output: {path: 'a${b c}'}",
            "output.path: a reference is written ${NAME} or ${NAME:-default}; for a literal ${ write $${",
        ),
        ("limits: {'${X}': 1}", "variables are read in values, not in keys"),
        ("output: {path: '${BAD}'}", "output.path: the environment variable BAD is not valid UTF-8"),
        # YAML
        ("name: u", '"name" is given twice; first on line 1'),
        ("limits: {qps: !!int 5}", "tags (!…) have no meaning in a job file"),
        ("limits: {<<: 5}", "<< takes a mapping, or a list of mappings"),
        ('parameters: {user_id: "\\ud800"}', "an escape (\\u…) gives half a character, which cannot be sent"),
    ],
)
def test_one_wrong_line_is_one_problem(tmp_path: Path, line: str, problem: str) -> None:
    """Each kind of mistake gives exactly one message, which names its line."""
    environ = {"BAD": "\udcff"}
    assert problems_of(tmp_path, HEAD + line + "\n", environ=environ) == [f"line 4: {problem}"]


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("{endpoint: e}", "models[0].name: is required"),
        (
            "{name: a}",
            "models[0].endpoint: is required (or endpoints, where several serve the model)",
        ),
        ("{name: '', endpoint: e}", "models[0].name: must not be empty"),
        ("{name: 5, endpoint: e}", "models[0].name: must be text, not 5; put it in quotes"),
        (
            "{name: a, endpoint: 'https://h/x'}",
            (
                "models[0].endpoint: give only the last part of the service's URL, "
                "without blanks or any of / ? # %"
            ),
        ),
        (
            "{name: a, endpoint: e, price: {}}",
            "models[0].price: needs at least one of prompt_per_1k, completion_per_1k, unit_hour",
        ),
        (
            "{name: a, endpoint: e, price: {prompt_per_1k: 1, units: 2}}",
            "models[0].price.units: means nothing without unit_hour",
        ),
        (
            "{name: a, endpoint: e, price: {unit_hour: 1, currency: yuan}}",
            'models[0].price.currency: must be three capital letters such as CNY, not "yuan"',
        ),
        (
            "{name: a, endpoint: e, price: {unit_hour: -1}}",
            "models[0].price.unit_hour: must be at least 0, not -1",
        ),
        (
            "{name: a, endpoint: e, parameters: {top_k: 0}}",
            "models[0].parameters.top_k: must be a whole number of at least 1, not 0",
        ),
        (
            "{name: a, endpoint: e, limits: {qps: 0}}",
            "models[0].limits.qps: must be above 0, not 0",
        ),
        ("{name: a, endpoint: e, rpm: 5}", 'models[0]: unknown key "rpm"; it belongs under limits'),
        ("5", "models[0]: must be a mapping, not 5"),
    ],
)
def test_a_wrong_model_is_one_problem(tmp_path: Path, model: str, problem: str) -> None:
    """What is wrong with a model names the model by its place in the list."""
    text = f"name: t\ninput: {{path: r.jsonl, prompt: p}}\nmodels:\n- {model}\n"
    assert problems_of(tmp_path, text) == [f"line 4: {problem}"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("path: r", "needs the column that holds the prompt (prompt) or a template over columns (template)"),
        ("prompt: p", ".path: is required"),
        ("path: [], prompt: p", ".path: must not be empty"),
        ("path: 5, prompt: p", ".path: must be text or a list of texts, not 5"),
        ("path: s3:///k, prompt: p", ".path: not an address in object storage; write s3://bucket/prefix"),
        (
            "path: [r, S3://b/k], prompt: p",
            ".path[1]: not an address in object storage; write s3://bucket/prefix",
        ),
        (
            "path: r, prompt: p, template: '{q}'",
            ".template: give either input.prompt or input.template, not both",
        ),
        (
            "path: r, template: 'a {q'",
            ".template: '{' at character 3 has no partner; write '{{' for a literal brace",
        ),
        (
            "path: r, template: 'no field'",
            ".template: reads no column, so all prompts would be the same; name one as {column}",
        ),
        (
            "path: r, template: '{q!r}'",
            '.template: between braces stands a column\'s name alone, without "!r"',
        ),
        (
            "path: r, template: '{q[0]}'",
            '.template: between braces stands a column\'s name alone, without "[0]"',
        ),
        ("path: r, prompt: p, columns: [a, a]", ".columns[1]: this column is listed twice"),
        ("path: r, prompt: p, shard_rows: 0", ".shard_rows: must be at least 1, not 0"),
    ],
)
def test_a_wrong_input_is_one_problem(tmp_path: Path, given: str, problem: str) -> None:
    """What is wrong with the input names the key."""
    text = f"name: t\nmodels: [{{name: m, endpoint: e}}]\ninput: {{{given}}}\n"
    expected = f"input{problem}" if problem.startswith(".") else f"input: {problem}"
    assert problems_of(tmp_path, text) == [f"line 3: {expected}"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a/b", 'names a directory, so it must not hold "/"'),
        ("a\\b", 'names a directory, so it must not hold "\\"'),
        ("..", 'names a directory, which cannot be called ".."'),
        (".hidden", 'names a directory, which cannot be called ".hidden"'),
        ("CON", 'names a directory, which cannot be called "CON"'),
        ("n" * 151, "names a directory, so it must have at most 150 bytes"),
        ("a\u0007", "must not hold line breaks or control characters"),
    ],
)
def test_a_name_that_is_no_directory(tmp_path: Path, name: str, problem: str) -> None:
    """The job's name becomes a directory, so it must be able to."""
    escaped = name.replace("\\", "\\\\").replace("\u0007", "\\u0007")
    assert problems_of(tmp_path, MINIMAL.replace("tiny", f'"{escaped}"')) == [f"line 1: name: {problem}"]


def test_names_that_are_directories(tmp_path: Path) -> None:
    """Other scripts, blanks and dots within are fine."""
    for name in ("评测", "run 1", "v1.2_x-y", "console"):
        assert load_text(tmp_path, MINIMAL.replace("tiny", name)).output_path == Path("runs") / name


def test_all_problems_are_shown_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    """One mistake does not hide another, whichever step of reading finds it."""
    no_prompt = "input: needs the column that holds the prompt (prompt) or a template over columns (template)"
    text = """\
name: ev/al
input: {path: r.jsonl}
service: {api: x, api_key: hunter2}
models:
  - {name: a, endpoint: e, price: {unit_hour: 1, currency: USD}}
  - {name: a, endpoint: e, parameters: {top_p: 2}, price: {unit_hour: 1}}
budget: {max_cost: 1}
limits: {qps: 0, qps: 1}
output: {path: "${OUT}"}
"""
    assert problems_of(tmp_path, text, overrides=["limits.rpm=-1", "broken"]) == [
        'line 1: name: names a directory, so it must not hold "/"',
        f"line 2: {no_prompt}",
        (
            "line 3: service.api_key: a credential does not belong in the job file; "
            "put it into the environment or .env as QIANFAN_BEARER_TOKEN"
        ),
        'line 3: service.api: must be qianfan, openai or openai-chat, not "x"',
        "line 6: models[1].name: models[0] has the same name; results are told apart by it",
        "line 6: models[1].parameters.top_p: must be at least 0 and at most 1, not 2",
        "line 7: budget.max_cost: needs one currency, but the models have prices in CNY, USD",
        'line 8: "qps" is given twice; first on line 8',
        "line 8: limits.qps: must be above 0, not 0",
        (
            "line 9: output.path: the environment variable OUT is not set; set it, or give a default: "
            "${OUT:-default} (for a literal ${ write $${)"
        ),
        "--set: must be KEY=VALUE, as in --set limits.qps=5",
        "--set: limits.rpm: must be above 0, not -1",
    ]


def test_missing_sections_are_named(tmp_path: Path) -> None:
    """What every job needs is asked for by name."""
    assert problems_of(tmp_path, "limits: {qps: 1}\n") == [
        "line 1: name: is required",
        "line 1: input: is required",
        "line 1: models: is required",
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("models.9.endpoint=x", "models.9.endpoint: there is no models.9; models has m"),
        ("models.other.endpoint=x", "models.other.endpoint: there is no models.other; models has m"),
        ("name.x=1", "name.x: name is a single value, nothing can be set below it"),
        ("limits..qps=1", "limits..qps: the path has an empty part"),
        ("=1", "must be KEY=VALUE, as in --set limits.qps=5"),
        ("limits.qps", "must be KEY=VALUE, as in --set limits.qps=5"),
        (
            "limits.zebra=5",
            'limits: unknown key "zebra"; the keys here are concurrency, qps, rpm, tpm, adaptive',
        ),
        ("limits.qps=", None),
        (
            "limits.qps={",
            "limits.qps: the value is not valid YAML: expected the node content, but found '<stream end>'",
        ),
    ],
)
def test_overrides_that_cannot_be_set(tmp_path: Path, override: str, problem: str | None) -> None:
    """A wrong override says which part of its path is wrong; an empty value is null."""
    if problem is None:
        assert load_text(tmp_path, MINIMAL, overrides=[override]).limits.qps is None
    else:
        assert problems_of(tmp_path, MINIMAL, overrides=[override]) == [f"--set: {problem}"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b: c\n", "line 1, column 5: not valid YAML: mapping values are not allowed here"),
        ("a: [1\nb: 2\n", "line 2, column 2: not valid YAML: expected ',' or ']', but got ':'"),
        (
            "a:\n\t- b\n",
            (
                "line 2, column 1: not valid YAML: found character '\\t' that cannot start any token "
                "(YAML is indented with spaces)"
            ),
        ),
        ("a: 'x\n", "line 2, column 1: not valid YAML: found unexpected end of stream"),
        ("a: b\n\nc: \0", "line 3: not valid YAML: the character U+0000 is not allowed"),
        ("a: b\n---\nc: d\n", "line 2: a second YAML document starts here; a job file is one"),
        ("a: *b\n", "line 1: this alias (*) names no complete anchor (&) above it"),
        ("a: &x [*x]\n", "line 1: this alias (*) names no complete anchor (&) above it"),
        (
            'a: "\\UFFFFFFFF"\n',
            "line 1: not valid YAML: a number in an escape (\\U…) or directive is out of range",
        ),
        ("a: " + "[" * 100_000, "line 1: nested more than 40 levels deep"),
        ("- " * 50_000, "line 1: nested more than 40 levels deep"),
        ("a: !x!y z", "line 1, column 4: not valid YAML: found an undefined tag handle"),
    ],
)
def test_text_that_is_no_yaml(tmp_path: Path, text: str, problem: str) -> None:
    """A syntax error is one message with its line, and column where it has one."""
    assert problems_of(tmp_path, text) == [problem]


def test_a_reference_inside_braces_is_hinted_at(tmp_path: Path) -> None:
    """The one trap of references in YAML's own braces is explained."""
    with pytest.raises(JobFileError) as caught:
        load_text(tmp_path, HEAD + "limits: {qps: ${QPS:-5}}\n")
    assert caught.value.hint == 'Inside { } and [ ] a reference needs quotes: {qps: "${QPS:-5}"}'


def test_aliases_that_expand_without_bound(tmp_path: Path) -> None:
    """Anchors that double in every line are stopped by their number, not by the machine's memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    found = problems_of(tmp_path, "\n".join(lines))
    assert found == ["line 1: more than 50000 values, aliases expanded"]


def test_aliases_that_nest_without_bound(tmp_path: Path) -> None:
    """A chain of anchors, each around the one before, is as deep as what it expands to."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 500)]
    assert problems_of(tmp_path, "\n".join(lines)) == ["line 1: nested more than 40 levels deep"]
