"""What to type: commands by the name that was used, and the installation of extras."""

import importlib.metadata
import re
import shlex
import shutil
import sys
from pathlib import Path

DISTRIBUTION = "keras-deep-emotion"  # also the name of its console script


def _typed() -> list[str]:
    """The words before the arguments, as they were typed, if they call this command line."""
    words = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    path = Path(sys.argv[0] or ".")
    if path.stem == DISTRIBUTION:  # a console script, which Python is given by its path
        found = shutil.which(DISTRIBUTION)
        on_path = found is not None and Path(found).resolve() == path.resolve()
        return [DISTRIBUTION if on_path else str(path)]
    is_module = path.name == "__main__.py" and path.parent.name == __package__
    return words if is_module or path.name == "cli.py" else []


_words = _typed()
# How this process was started, for texts that show commands: "python cli.py", for example.
PROGRAM = shlex.join(_words) or DISTRIBUTION
# pip of the Python that runs this.
_PIP = shlex.join([_words[0], "-m", "pip"]) if len(_words) > 1 else "pip"


def as_typed(text: str) -> str:
    """Replace `keras-deep-emotion COMMAND` in a text by the name that was used."""
    return re.sub(rf"\b{DISTRIBUTION} (?=[a-z])", lambda match: f"{PROGRAM} ", text)


def install_command(*extras: str) -> str:
    """The shell command that installs what extras of this package need.

    It names the packages themselves: they can be installed from wherever this package came.
    """
    try:
        packages = dict.fromkeys(one for extra in extras for one in _packages(extra))
    except importlib.metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
        packages = ["--editable", f"{Path(__file__).parents[1]}[{','.join(extras)}]"]
    # Metadata of an older installation may lack the extra.
    packages = packages or [f"{DISTRIBUTION}[{','.join(extras)}]"]
    return f"{_PIP} install {shlex.join(packages)}"


def _packages(extra):
    """The requirements of an extra, and of the extras that it names."""
    for line in importlib.metadata.requires(DISTRIBUTION):
        requirement, _, marker = line.partition(";")
        if re.search(rf"extra == ['\"]{extra}['\"]", marker):
            own = re.fullmatch(rf"{DISTRIBUTION}\[(.+)\]", requirement.strip())
            if own:
                for one in own[1].split(","):
                    yield from _packages(one)
            else:
                yield requirement.strip()
