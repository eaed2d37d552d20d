"""Pages of the documentation: their code, their commands and their links."""

import argparse
import configparser
import re
import runpy
import shlex
import sys
import warnings
from pathlib import Path

import pytest

from dec_jax.cli.main import parser

ROOT = Path(__file__).parents[1]
# Programs whose options are not ours to check.
OTHER_PROGRAMS = ("cd", "export", "git", "mkdocs", "pre-commit", "source")
OTHER_MODULES = ("pytest", "venv")


class Parsed(BaseException):
    """Raised in place of the run of a command whose options have been parsed."""


def blocks(page, language):
    """The code blocks of a language, in their order."""
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.M)


def links(page):
    """The files that a page links to, relative to the folder of the page."""
    text = (ROOT / page).read_text()
    return re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)


def commands(page):
    """The commands of a page's `sh` blocks, as lists of words."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check_command(words, monkeypatch):
    """Fails if a command names an option, a target or an extra that does not exist."""
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    program, *arguments = words
    if program == "dec-jax":
        parser().parse_args(arguments)
    elif program == "make":
        targets = [word for word in arguments if "=" not in word]
        makefile = (ROOT / "Makefile").read_text()
        assert [name for name in targets if f"\n{name}:" not in makefile] == []
    elif program == "pip":
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        named = re.findall(r"[\w,]+", " ".join(re.findall(r"\[(.+?)\]", words[-1])))
        extras = set(",".join(named).split(",")) - {""}
        assert extras <= set(config["options.extras_require"])
    elif program == "python" and arguments[1] not in OTHER_MODULES:
        check_module(arguments[1], arguments[2:], monkeypatch)
    else:
        assert program in (*OTHER_PROGRAMS, "python")


def check_module(module, arguments, monkeypatch):
    """Parses the options of `python -m module`, and runs nothing."""
    real = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        real(self, args, namespace)
        raise Parsed

    with monkeypatch.context() as patch, warnings.catch_warnings():
        # The module may have been imported before, by another test.
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(Parsed):
            runpy.run_module(module, run_name="__main__", alter_sys=False)


def run_python(page, changes=()):
    """Runs the `python` blocks of a page, in their order, in one namespace.

    Args:
      page: the path of the page.
      changes: a dictionary of texts in the blocks and what takes their place.
    """
    names = {"__name__": page}
    for number, source in enumerate(blocks(page, "python"), start=1):
        for old in changes:
            source = source.replace(old, changes[old])
        exec(compile(source, f"{page}, block {number}", "exec"), names)
    return names
