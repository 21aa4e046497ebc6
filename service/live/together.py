"""Requests that come at the same time are answered together: one look at the store, one product with the items."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Together"]

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


class Together(Generic[_Question, _Answer]):
    """Answers questions in a thread of its own, one batch at a time: those that come while a batch is being answered
    are the next one, so nobody waits for a batch to fill. It is asked from one event loop alone.

    Args:
        answer: returns an answer for each question, or the exception that is its answer; called in the thread.
        most: questions in a batch.
    """

    def __init__(self, answer: Callable[[Sequence[_Question]], Sequence[_Answer | Exception]], most: int) -> None:
        self._answer = answer
        self._most = most
        self._waiting: deque[tuple[_Question, asyncio.Future[_Answer]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="together")
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, question: _Question) -> _Answer:
        """Return the answer; raises whatever exception is it."""
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answered(self, questions: Sequence[_Question]) -> Sequence[_Answer | Exception]:
        try:
            answers = [_as_answer(one) for one in self._answer(questions)]
        except StopIteration as error:  # no future takes it, and who waits would wait for ever
            raise RuntimeError("who answers stopped") from error
        if len(answers) != len(questions):
            raise RuntimeError(f"{len(answers)} answers to {len(questions)} questions")
        return answers

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                questions = [question for question, _ in batch]
                answers: Sequence[_Answer | Exception]
                try:
                    answers = await loop.run_in_executor(self._thread, self._answered, questions)
                except Exception as error:
                    # The store, most likely: who has come meanwhile would wait as long for the same answer.
                    batch += self._waiting
                    self._waiting.clear()
                    answers = [error] * len(batch)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.done():  # who asked has left
                        continue
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            self._running = None


def _as_answer(answer: _Answer | Exception) -> _Answer | Exception:
    """Return an answer in a form that a future takes: no StopIteration."""
    return RuntimeError(repr(answer)) if isinstance(answer, StopIteration) else answer
