"""How the code is laid out: imports go one way, planning stays light, names agree, modules stay small."""

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from workflow_scripts import PACKAGE, ROOT
from workflow_scripts.cache.fingerprints import sources
from workflow_scripts.core.tasks import BUILT_IN

CODE = ROOT / PACKAGE
FILES = sorted(CODE.rglob("*.py"))
FOLDERS = sorted({file.parent for file in FILES})
STAGES = ("data", "features", "train", "encoders", "infer", "score", "saliency", "report", "submit")
SHARED = {"tasks", "judges", "engines", "models", "cache", "core"}
ALLOWED = {
    "core": {"core"},
    "cache": {"cache", "core"},
    "tasks": {"tasks", "core"},
    "models": {"models", "cache", "core"},
    "engines": {"engines", "models", "cache", "core"},
    "judges": {"judges", "engines", "models", "tasks", "cache", "core"},
    "synthetic": {"synthetic", *SHARED},
    "cli": {"cli", "synthetic", *SHARED, *STAGES},
    **{stage: {stage, *SHARED} for stage in STAGES},
}
"""What the modules of each package may import."""
MOST_MODULES, MOST_LINES = 12, 400


def name_of(path):
    return str(path.relative_to(ROOT))


@cache
def syntax_of(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(file):
    """Modules of the package that a file imports anywhere, by its syntax tree."""
    names = set()
    for node in ast.walk(syntax_of(file)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith(f"{PACKAGE}.") and module_file(name).exists()}


def module_file(name):
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def faults_of(fault):
    """What `fault` says of each file, by the file's name, where it says something."""
    return {name_of(file): said for file in FILES if (said := fault(file))}


def test_imports_go_one_way():
    def forbidden(file):
        allowed = ALLOWED.get(file.relative_to(CODE).parts[0], set())
        return {name.split(".")[1] for name in imported(file)} - allowed

    assert faults_of(forbidden) == {}


def test_every_package_has_its_place_in_the_order():
    assert {folder.relative_to(CODE).parts[0] for folder in FOLDERS if folder != CODE} == set(ALLOWED)


def test_no_library_code_imports_snakemake():
    def of_snakemake(file):
        names = []
        for node in ast.walk(syntax_of(file)):
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        return [name for name in names if name.split(".")[0] == "snakemake"]

    assert faults_of(of_snakemake) == {}


FORBIDDEN = re.compile(
    r"trust_remote_code\s*=\s*True|[\"']trust_remote_code[\"']\s*:\s*True|\btorch\.load\(|\bpickle\."
)


def test_no_code_of_others_is_run_and_no_pickle_is_read():
    assert faults_of(lambda file: FORBIDDEN.findall(file.read_text(encoding="utf-8"))) == {}


@pytest.mark.parametrize(
    "line", ["f(trust_remote_code=True)", "{'trust_remote_code': True}", "torch.load(path)", "pickle.loads(data)"]
)
def test_what_is_forbidden_is_found(line):
    assert FORBIDDEN.search(line)


def test_nothing_that_snakemake_parses_imports_torch():
    program = (
        "import sys; from snakemake.cli import parse_args, args_to_api;"
        "parser, args = parse_args(['-n', '--quiet', 'all', '--cores', '1']);"
        "assert args_to_api(args, parser), 'the plan failed';"
        "print('PLANNED WITH', *sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "PLANNED WITH\n" in done.stdout, done.stdout[-2000:]


def test_a_package_has_at_most_a_dozen_modules():
    modules = Counter(file.parent for file in FILES if file.name != "__init__.py")
    assert {name_of(folder): count for folder, count in modules.items() if count > MOST_MODULES} == {}


def test_a_module_has_at_most_400_lines():
    assert faults_of(lambda file: max(0, len(file.read_text(encoding="utf-8").splitlines()) - MOST_LINES)) == {}


TASK_NAMES = {task.name for task in BUILT_IN}
HOLDS_NAMES = ("tasks/", "core/tasks.py", "synthetic/")
"""Where a task may be called by its name."""
STAGE_OF_THAT_NAME = ("report/", "cli/")
"""`report` is a stage too, and a folder of results."""


def test_tasks_are_named_in_their_packages_and_the_registry_alone():
    def named(file):
        inside = str(file.relative_to(CODE))
        texts = {node.value for node in ast.walk(syntax_of(file)) if isinstance(node, ast.Constant)}
        names = TASK_NAMES - ({"report"} if inside.startswith(STAGE_OF_THAT_NAME) else set())
        return set() if inside.startswith(HOLDS_NAMES) else {text for text in texts if isinstance(text, str)} & names

    assert faults_of(named) == {}


RULE = re.compile(r"^(?:rule|checkpoint) (\w+):\n((?:(?:[ \t]+.*)?\n)+)", re.MULTILINE)
RULES = {
    name: (file.stem, body)
    for file in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in RULE.findall(file.read_text(encoding="utf-8") + "\n")
}
STEPS = {name: rule for name, rule in RULES.items() if "shell:" in rule[1]}


def shell_of(body):
    """The text of a rule's command: its string literals, joined."""
    return ast.literal_eval("(" + body.split("shell:")[1].strip() + ")")


def module_of(body):
    """The module of this package that a rule's command runs last: the step, behind whatever starts it."""
    return re.findall(rf"\b{PACKAGE}\.([\w.]+)", shell_of(body))[-1]


def test_the_rules_are_found():
    assert len(STEPS) > 15 and {"data_convert", "train_tune", "score_metrics"} <= set(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_a_rule_and_its_module_its_log_and_its_benchmark_share_a_name(name):
    stage, body = STEPS[name]
    package, _, module = module_of(body).rpartition(".")
    assert f"{package}_{module}" == name and package == stage
    assert set(re.findall(r"\{R\}/logs/(\w+)/", body)) == {name}
    assert set(re.findall(r"\{R\}/benchmarks/(\w+)/", body)) == {name}
    assert re.search(rf'code(_by_family)?\("{PACKAGE}\.{package}\.{module}"\)', body)


@pytest.mark.parametrize("name", STEPS)
def test_the_function_that_a_module_runs_bears_the_name_of_its_rule(name):
    module = module_of(STEPS[name][1])
    syntax = syntax_of(module_file(f"{PACKAGE}.{module}"))
    calls = [node for node in ast.walk(syntax) if isinstance(node, ast.Call)]
    entries = [call.args[0].id for call in calls if getattr(call.func, "id", "") == "run_step"]
    noun = module.split(".")[-1]
    assert len(entries) == 1
    assert entries[0] == noun or entries[0].endswith(f"_{noun}") or entries[0].startswith(f"{noun}_"), entries


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_in_a_sentence_what_it_is_for(name):
    documented = re.match(r'\s+"""([^"]+)"""', RULES[name][1])
    assert documented and documented[1].strip().endswith(".")


PLAIN = re.compile(r"threads|resources\.launcher|params\.max_new_tokens")
"""What stands in a command as it is: a number, the start of a command that is several words, and quoted words."""
NUMBERS = re.compile(r"resources\.(?:gpu|batch|workers|timeout|retries|mem_mb|runtime)|params\.(?:batch|sample)")


@pytest.mark.parametrize("name", STEPS)
def test_what_enters_a_command_is_quoted(name):
    for placeholder in re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", shell_of(STEPS[name][1])):
        bare = PLAIN.fullmatch(placeholder) or NUMBERS.fullmatch(placeholder)
        assert placeholder.endswith(":q") or bare, placeholder


def test_the_limits_of_tokens_are_quoted_where_they_are_made():
    assert "\nMAX_NEW_TOKENS = shlex.join(" in (ROOT / "rules/infer.smk").read_text(encoding="utf-8")
    given = {re.search(r"max_new_tokens=(.*),", body)[1] for _, body in STEPS.values() if "max_new_tokens=" in body}
    assert given == {"MAX_NEW_TOKENS"}


def test_the_sources_of_a_step_are_what_it_imports_and_nothing_of_other_stages():
    files = sources("workflow_scripts.infer.gather")
    assert "workflow_scripts/infer/gather.py" in files
    assert "workflow_scripts/core/tables.py" in files
    assert not any("/train/" in file or "/report/" in file or "synthetic" in file for file in files)


def test_the_sources_of_a_module_hold_whatever_its_syntax_tree_imports():
    def absent(file):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        return {name_of(module_file(name)) for name in imported(file)} - set(sources(module))

    assert faults_of(absent) == {}


@pytest.mark.parametrize(
    ("module", "part", "others"),
    [
        ("data.convert", "answers", ("reading", "grammar", "metrics", "baselines")),
        ("infer.answer", "grammar", ("answers", "reading", "metrics", "baselines")),
        ("infer.baseline", "baselines", ("answers", "reading", "grammar", "metrics")),
        ("score.outcomes", "reading", ("answers", "grammar", "metrics", "baselines")),
        ("score.metrics", "metrics", ("answers", "reading", "grammar", "baselines")),
        ("score.comparisons", "metrics", ("answers", "reading", "grammar", "baselines")),
    ],
)
def test_a_step_depends_on_the_parts_of_tasks_that_it_loads_and_no_others(module, part, others):
    files = sources(f"{PACKAGE}.{module}")
    for task in BUILT_IN:
        folder = task.package.replace(".", "/")
        assert f"{folder}/{part}.py" in files
        assert not [other for other in others if f"{folder}/{other}.py" in files]


def test_a_template_beside_a_module_counts_as_its_source():
    files = {"report/page.html.jinja", "report/page.css", "report/cases/start.js", "core/pages/base.css"}
    assert {f"workflow_scripts/{file}" for file in files} <= set(sources("workflow_scripts.report.page"))


def test_a_line_of_an_imported_module_changes_the_identity_of_a_step(tmp_path):
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from workflow_scripts.cache.fingerprints import identity; print(identity('workflow_scripts.infer.gather'))"
    )

    def printed():
        command = [sys.executable, "-c", program]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    before, used = printed(), tmp_path / PACKAGE / "core/tables.py"
    assert before.startswith("workflow_scripts.infer.gather ")
    used.touch()
    (tmp_path / PACKAGE / "report/page.py").write_text("")
    assert printed() == before
    used.write_text(used.read_text() + "\n# a line\n")
    assert printed() != before
