"""The whole story of Consentry on real photos: ``make demo``.

A server, a face-tagging service and their callers, all real: gRPC over mutual TLS, SQLite, encryption, face detection.
Exit code 0 only if every step came out as it had to.
"""

from __future__ import annotations

import argparse
import io
import shutil
import signal
import sys
from pathlib import Path

import grpc
from rich.console import Console
from rich.text import Text

from consentry import ConsentryError
from story import before, checking, consenting, hashing, limits, scene, withdrawing
from story.processes import ProcessFailedError
from story.telling import StepFailedError, Story

FOLDER = Path(__file__).parents[1] / ".consentry" / "demo"
WIDTH = 100
MARKER = ".consentry-demo"
"""A folder that holds this file is the demo's own: it may be emptied."""
INTERRUPTED = 130
CHAPTERS = (
    before.policy_first,
    before.nobody_was_told,
    before.sentence_of_2023,
    consenting.told_and_signed,
    consenting.allowed,
    limits.bystander,
    limits.no_further,
    hashing.whole_images,
    withdrawing.withdrawal,
    checking.ledger,
)


def main() -> int:
    """Tell the story.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="demo.py", description="The whole story of Consentry on real photos.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to leave ledger, logs and summary; emptied")
    folder: Path = parser.parse_args().folder.resolve()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 loses ornaments, not the story
    console = Console(highlight=False, width=min(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH)
    if not _emptied(folder):
        console.print(f"{folder} holds files that are not the demo's: name another folder")
        return 1
    story = Story(console)
    failure = ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no process is left behind
    try:
        _tell(story, folder)
    except KeyboardInterrupt:
        console.print("interrupted; both processes are stopped")
        return INTERRUPTED
    except StepFailedError as error:
        failure = str(error)
    except (ProcessFailedError, ConsentryError, grpc.RpcError, OSError) as error:
        failure = f"after step {story.last_step or 'none'}: {error}"
    story.summary(folder / "summary.json")
    story.closing(_files(folder))
    if failure:
        console.print(Text(f"✗ {failure}", "bold red"))
        return 1
    console.print(Text(f"✓ all {story.count} steps came out as they had to", "bold green"))
    return 0


def _tell(story: Story, folder: Path) -> None:
    with scene.opened(story, folder) as everybody:
        checking.pin_key(everybody)
        for chapter in CHAPTERS:
            chapter(everybody)


def _emptied(folder: Path) -> bool:
    """Make the folder fresh; one that something else filled is left alone."""
    if folder.exists() and any(folder.iterdir()):
        if folder != FOLDER and not (folder / MARKER).exists():
            return False
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return True


def _files(folder: Path) -> dict[str, str]:
    shown = {
        "the ledger": "ledger",
        "this table as data": "summary.json",
        "the masked photo": limits.MASKED,
        "Alice's receipt": "receipt.txt",
        "what openssl read": "openssl",
        "the server's state": "state",
        "what the server said": "server.log",
        "what the tagger said": "face-tagger.log",
    }
    here = Path.cwd()
    return {
        what: str(path.relative_to(here) if path.is_relative_to(here) else path)
        for what, name in shown.items()
        for path in (folder / name,)
        if path.exists()
    }


if __name__ == "__main__":
    sys.exit(main())
