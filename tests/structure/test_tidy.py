"""The rules of shape and size that this code keeps; an exception is an entry with a reason."""

import ast
import re
from statistics import median

from tests.structure import tree

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 450
LINE_CHARACTERS_MAX = 100
MEDIAN_FUNCTION_LINES_MAX = 10
DOCSTRING_LINES_MAX = 15

LONG_FILES = {
    # Generated: every shape of a service.
    "src/stanchion/model/iam.py",
    "src/stanchion/model/kms.py",
    "src/stanchion/model/sqs.py",
}
LONG_FUNCTIONS: set[str] = set()
PRINTING_FOLDERS = ("cli",)
# These wait for sockets and for processes of their own.
SLEEPING_TESTS = ("cli", "clients", "crash", "examples", "http", "loadgen", "nodes", "shards")

# These sleep on a loop whose time is made up, and passes at once.
VIRTUAL_TIME_TESTS = {"tests/store/test_postgres_batcher.py", "tests/store/test_signals.py"}


def test_functions_are_short() -> None:
    long = {
        function.name
        for path in tree.python_files()
        for function in tree.functions(path)
        if function.lines > FUNCTION_LINES_MAX
    }
    assert long == LONG_FUNCTIONS


def test_the_median_function_is_small() -> None:
    lines = [
        function.lines for path in tree.python_files("src") for function in tree.functions(path)
    ]
    assert median(lines) <= MEDIAN_FUNCTION_LINES_MAX


def test_files_are_short() -> None:
    long = {
        tree.relative(path)
        for path in tree.python_files()
        if len(path.read_text(encoding="utf-8").splitlines()) > FILE_LINES_MAX
    }
    assert long == LONG_FILES


def test_lines_are_short() -> None:
    long = [
        f"{tree.relative(path)}:{number}"
        for path in tree.python_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LINE_CHARACTERS_MAX
    ]
    assert long == []


def test_modules_say_what_they_are() -> None:
    mute = [
        tree.relative(path)
        for path in tree.python_files("src")
        if not 1
        <= len((ast.get_docstring(tree.parsed(path)) or "").splitlines())
        <= (DOCSTRING_LINES_MAX)
    ]
    assert mute == []


def test_nothing_is_left_for_later() -> None:
    # Written in two parts, or this file would find itself.
    later = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    files = [*tree.python_files(), *tree.markdown_files()]
    found = [
        tree.relative(path) for path in files if later.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_only_the_command_line_prints() -> None:
    printing = [
        tree.relative(path)
        for path in tree.python_files("src")
        if path.relative_to(tree.SOURCE).parts[0] not in PRINTING_FOLDERS
        for name, _ in tree.calls(path)
        if name == "print"
    ]
    assert printing == []


def test_unit_tests_do_not_sleep() -> None:
    tests = tree.CHECKOUT / "tests"
    sleeping = [
        f"{tree.relative(path)}:{call.lineno}"
        for path in tree.python_files("tests")
        if path.relative_to(tests).parts[0] not in SLEEPING_TESTS
        and tree.relative(path) not in VIRTUAL_TIME_TESTS
        for name, call in tree.calls(path)
        if _sleeps(name, call)
    ]
    assert sleeping == []


def _sleeps(name: str, call: ast.Call) -> bool:
    if name in ("time.sleep", "sleep"):
        return True
    # asyncio.sleep(0) only lets others run.
    return name == "asyncio.sleep" and ast.unparse(call.args[0]) != "0"


def test_functions_are_measured() -> None:
    path = tree.CHECKOUT / "tests" / "structure" / "tree.py"
    sizes = {function.name.split("::")[1]: function.lines for function in tree.functions(path)}
    assert sizes["relative"] == 2
