"""What a training logs, kept on the device."""

import torch

from gmvae_lib.vae.distributed import mean_over_processes


class Ledger:
    """Sums of what the steps of an epoch log, and the first step whose loss was no number.

    All of it lies on the device, where it is read once an epoch.
    """

    NEVER = 1 << 62

    def __init__(self, device):
        self.names: list[str] = []
        self.wide = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(0, dtype=self.wide, device=device)
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        self.bad = torch.full_like(self.step, self.NEVER)

    def add(self, log: dict[str, torch.Tensor], world: int) -> None:
        values = torch.stack([value.float() for value in log.values()])
        if world > 1:
            values = mean_over_processes(values)
        if self.names != list(log):
            self.names, self.sums = list(log), torch.zeros_like(values, dtype=self.wide)
        self.sums += values
        fine = values[self.names.index("loss")].isfinite()
        self.bad.copy_(torch.where(fine, self.bad, torch.minimum(self.bad, self.step)))
        self.step += 1

    def sums_by_name(self) -> dict[str, float]:
        return dict(zip(self.names, self.sums.tolist(), strict=True))

    def set(self, step: int, sums: dict[str, float]) -> None:
        """Take up the sums of an epoch under way."""
        self.step.fill_(step)
        if sums:
            self.names = list(sums)
            values = torch.tensor(list(sums.values()), dtype=self.wide)
            self.sums = values.to(self.sums.device)
