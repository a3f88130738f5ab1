"""Child processes that answer questions, each within a time limit; one that hangs or dies is replaced."""

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal, NamedTuple

from lscht_ray.errors import InputError

START_SECONDS = 120.0
"""Time for a child to start."""
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

MORE = '{"more": '
"""How a line begins by which a child asks for more time."""

Question = dict[str, Any]
"""What a child is asked, as JSON; `seconds` in it replaces the pool's time limit."""


class Answer(NamedTuple):
    """What a child answered, or how it ended instead.

    Attributes:
        content: The answer; empty where the child ended.
        ended: ``hung``: it took longer than its limit and was killed; ``died``: it ended by itself.
        detail: The limit, the signal or the exit code.
    """

    content: dict[str, Any]
    ended: Literal["", "hung", "died"] = ""
    detail: str = ""


class KillablePool:
    """Child processes that read a question as a line of JSON and answer with one; each thread has its own child.

    A child prints one line when it is ready. A line {"more": S, ...} before the answer asks for S more seconds. A child
    that answers with a true "retire" is replaced. What it prints to standard error is dropped.

    Args:
        command: Starts a child.
        processes: Children at a time.
        seconds: Time limit for an answer.
    """

    def __init__(self, command: list[str], *, processes: int, seconds: float) -> None:
        self.command, self.processes, self.seconds = command, processes, seconds
        self._own = threading.local()
        self._children: set[subprocess.Popen[str]] = set()
        self._closed = False

    def __enter__(self) -> "KillablePool":
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed = True
        for child in list(self._children):
            self._end(child)

    def map(
        self, questions: Iterable[Question], heard: Callable[[Question, dict[str, Any]], object] = lambda *_: None
    ) -> Iterator[tuple[Question, Answer]]:
        """Ask every question; yield each with its answer, in the order of the answers.

        Args:
            questions: What is asked.
            heard: Gets a question and what its child printed as it asked for more time; called in any thread.
        """
        with ThreadPoolExecutor(self.processes) as executor:
            futures = {executor.submit(self.ask, question, heard): question for question in questions}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                self._closed = True
                for child in list(self._children):
                    child.kill()
                executor.shutdown(wait=True, cancel_futures=True)
                self._closed = False

    def ask(self, question: Question, heard: Callable[[Question, dict[str, Any]], object] = lambda *_: None) -> Answer:
        """Ask this thread's child.

        Raises:
            InputError: A child can't be started.
        """
        child: subprocess.Popen[str] | None = getattr(self._own, "child", None)
        if child is None or child.poll() is not None:
            child = self._start()
        seconds = question.get("seconds", self.seconds)
        answer = self._exchange(child, json.dumps(question), seconds, lambda content: heard(question, content))
        if answer.ended or answer.content.pop("retire", False):
            self._end(child)
        return answer

    def _start(self) -> subprocess.Popen[str]:
        if self._closed:
            raise RuntimeError("the children have been ended")
        child = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, **ONE_THREAD},
        )
        self._children.add(child)
        self._own.child = child
        answer = self._exchange(child, None, START_SECONDS)
        if answer.ended:
            self._end(child)
            raise InputError(f"{' '.join(self.command)} can't be started: it {answer.ended} ({answer.detail})")
        return child

    def _exchange(
        self,
        child: subprocess.Popen[str],
        line: str | None,
        seconds: float,
        heard: Callable[[dict[str, Any]], object] = lambda content: None,
    ) -> Answer:
        assert child.stdin is not None and child.stdout is not None
        late = threading.Event()

        def kill() -> None:
            late.set()
            child.kill()

        end = time.monotonic() + seconds
        answer = MORE
        while answer.startswith(MORE):
            timer = threading.Timer(max(0.0, end - time.monotonic()), kill)
            timer.start()
            try:
                if line is not None:
                    child.stdin.write(line + "\n")
                    child.stdin.flush()
                    line = None
                answer = child.stdout.readline()
            except (BrokenPipeError, ValueError):
                answer = ""
            finally:
                timer.cancel()
            if answer.startswith(MORE) and answer.endswith("\n"):
                content = json.loads(answer)
                end, seconds = end + content["more"], seconds + content["more"]
                heard(content)
        if answer.endswith("\n"):
            return Answer(json.loads(answer))
        if late.is_set():
            return Answer({}, "hung", f"no answer within {seconds:g} s")
        code = child.wait()
        return Answer({}, "died", f"signal {-code}" if code < 0 else f"exit code {code}")

    def _end(self, child: subprocess.Popen[str]) -> None:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._children.discard(child)
