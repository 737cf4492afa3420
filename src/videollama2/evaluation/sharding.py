"""Several processes on one benchmark, as `accelerate launch` and torchrun start them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from videollama2.evaluation.task import Question

_PATIENCE = timedelta(days=7)  # one process may have much longer clips than another


@dataclass(frozen=True)
class Place:
    """This process among `world`: its number, and its number on this machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process scores and reports."""
        return self.rank == 0

    @classmethod
    def of_environment(cls) -> Place:
        """As the launcher says it; one alone without a launcher."""
        return cls(
            int(os.environ.get("RANK", "0")),
            int(os.environ.get("WORLD_SIZE", "1")),
            int(os.environ.get("LOCAL_RANK", "0")),
        )

    def share(self, questions: Sequence[Question]) -> list[Question]:
        """The questions of this process: those of a video stay together."""
        units: dict[str, int] = {}
        for question in questions:
            units.setdefault(question.unit, len(units))
        return [one for one in questions if units[one.unit] % self.world == self.rank]

    def wait(self) -> None:
        """Until every process has come here.

        Raises:
            RuntimeError: another process has died.
        """
        if self.world == 1:
            return
        import torch.distributed

        distributed: Any = torch.distributed
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=_PATIENCE)
        distributed.barrier()

    def leave(self) -> None:
        """Say farewell to the other processes."""
        if self.world > 1:
            import torch.distributed as distributed

            if distributed.is_initialized():
                distributed.destroy_process_group()
