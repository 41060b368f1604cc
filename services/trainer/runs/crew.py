"""Gradients from several processes of one thread each, which share the weights and take micro-batches from one list.

Two threads of one process wait for each other at every small operation, which on a busy machine costs most of the time (measured: a fifth of the
speed); processes wait for each other once a step. The first member is the caller itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.multiprocessing as mp

Step = Callable[[str], tuple[float, int]]  # kind of micro-batch -> its loss and number of tokens; leaves gradients on the weights
MOST = 64  # micro-batches a step
PATIENCE = 600  # seconds


class Crew:
    """The board that the members share: which micro-batches a step has, what they lost, and each member's sum of gradients."""

    def __init__(self, weights: Sequence[torch.Tensor], helpers: int) -> None:
        """`weights` are shared memory where there are helpers (CPU)."""
        context = mp.get_context("spawn")
        self.helpers = helpers
        self.lock, self.begin, self.end = context.Lock(), context.Semaphore(0), context.Semaphore(0)
        self.left = torch.zeros(1, dtype=torch.int64).share_memory_()
        self.kinds = torch.zeros(MOST, dtype=torch.int64).share_memory_()
        self.losses = torch.zeros(MOST).share_memory_()
        self.tokens = torch.zeros(MOST, dtype=torch.int64).share_memory_()
        self.sums = [[torch.zeros(w.shape, dtype=torch.float32, device=w.device) for w in weights] for _ in range(helpers + 1)]
        for totals in self.sums[1:]:
            for total in totals:
                total.share_memory_()

    def start(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Start the helpers: `target(crew, member, *args)`, which sets up and then calls `help`. Waits until they are ready; they end with the caller."""
        for member in range(1, self.helpers + 1):
            mp.get_context("spawn").Process(target=target, args=(self, member, *args), daemon=True).start()
        self._wait()

    def _wait(self) -> None:
        for _ in range(self.helpers):
            if not self.end.acquire(timeout=PATIENCE):
                raise RuntimeError(f"a helper process said nothing for {PATIENCE} s: it died or the machine is overloaded; use --resume")

    def help(self, member: int, weights: Sequence[torch.Tensor], names: Sequence[str], step: Step) -> None:
        """A helper's life: wait for a step, take what is there, say when nothing is left."""
        self.end.release()
        while True:
            while not self.begin.acquire(timeout=20):
                if (parent := mp.parent_process()) is None or not parent.is_alive():
                    return  # nobody will ever ask again
            self._work(member, weights, names, step)
            self.end.release()

    def gradients(
        self, kinds: Sequence[str], weights: Sequence[torch.Tensor], names: Sequence[str], step: Step
    ) -> tuple[list[torch.Tensor], list[float], int]:
        """One step over these micro-batches: mean gradients (fp32), their losses, and the number of tokens."""
        count = len(kinds)
        self.kinds[:count] = torch.tensor([names.index(kind) for kind in kinds])
        self.left[0] = count
        for _ in range(self.helpers):
            self.begin.release()
        self._work(0, weights, names, step)
        self._wait()
        means = [torch.stack(parts).sum(0) / count if self.helpers else parts[0] / count for parts in zip(*self.sums, strict=True)]
        for totals in self.sums:
            for total in totals:
                total.zero_()
        return means, self.losses[:count].tolist(), int(self.tokens[:count].sum())

    def _work(self, member: int, weights: Sequence[torch.Tensor], names: Sequence[str], step: Step) -> None:
        while True:
            with self.lock:
                n = int(self.left[0]) - 1
                if n < 0:
                    return
                self.left[0] = n
            loss, tokens = step(names[int(self.kinds[n])])
            self.losses[n], self.tokens[n] = loss, tokens
            for weight, total in zip(weights, self.sums[member], strict=True):
                if weight.grad is not None:
                    total += weight.grad
                    weight.grad = None
