"""The same networks in plain PyTorch, in a process of their own, so that they can be measured in turn with Keras."""

import contextlib
import itertools
import json
import subprocess
import sys
from typing import Any


class Torch:
    """A network that waits in another process. `step()` trains it once and returns when that is done."""

    def __init__(self, python: str, network: Any):
        sizes = network.make_encoder().features, network.projection, network.units, network.batch_size, network.steps
        command = [python, __file__, json.dumps(sizes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self) -> None:
        """Trains once."""
        with contextlib.suppress(BrokenPipeError):  # the error below explains more
            self.process.stdin.write("step\n")
            self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise RuntimeError(
                f"The process of PyTorch must answer. Received: its end, with code {self.process.wait()}. "
                f"Is torch installed for {self.process.args[0]}?"
            )

    def __enter__(self) -> "Torch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.communicate()


def version_of(python: str) -> str:
    """The version of torch that `python` has."""
    program = "import importlib.metadata as m; print(m.version('torch'))"
    return subprocess.run([python, "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def serve(features: int, projection: int | None, units: list[int], batch_size: int, steps: int) -> None:
    """Trains a step for every line that comes in."""
    import torch

    class Stack(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projection = torch.nn.Linear(features, projection) if projection else torch.nn.Identity()
            widths = [projection or features, *units]
            self.layers = torch.nn.ModuleList(
                torch.nn.LSTM(*pair, batch_first=True) for pair in itertools.pairwise(widths)
            )
            self.frame = torch.nn.Linear(units[-1], features)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.projection(x)
            for layer in self.layers:
                x, _ = layer(x)
            return self.frame(x)

    torch.manual_seed(0)
    stack, frames = Stack(), torch.randn(batch_size, steps + 1, features)
    optimizer = torch.optim.Adam(stack.parameters())
    for _ in sys.stdin:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(stack(frames[:, :-1]), frames[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stack.parameters(), 1.0)
        optimizer.step()
        print(loss.item(), flush=True)


if __name__ == "__main__":
    serve(*json.loads(sys.argv[1]))
