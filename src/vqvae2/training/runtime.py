"""Choose where to compute. The command line or a script does this once, and passes the `Runtime` on."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta

import torch
from torch import distributed

from vqvae2.config import Device, Precision
from vqvae2.errors import ConfigError
from vqvae2.system.stopping import StopRequest
from vqvae2.training.task import Runtime
from vqvae2.training.tracking import TRACKING_FOLDER, Tracker, Tracking

__all__ = ["choose_device", "choose_runtime", "join_processes", "leave_processes"]

# Processes may wait for hours while the first one reads images. A closed connection reveals a process that died.
_LONGEST_WAIT = timedelta(days=2)


def join_processes() -> None:
    """Join the other processes of the job, if `torchrun` or a cluster started several; each gets its own GPU."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"  # processes agree on the CPU, so that no device has to wait
    distributed.init_process_group(backend, timeout=_LONGEST_WAIT)


def leave_processes() -> None:
    """Leave the other processes, before this one ends."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def choose_device(device: Device = "auto") -> torch.device:
    """Choose a device; "auto" takes CUDA before MPS before the CPU.

    Raises:
        ConfigError: If the machine does not have the device.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    chosen = available[0] if device == "auto" else device
    if chosen not in available:
        raise ConfigError(f"`device` must be one that this machine has ({', '.join(available)}), got {device!r}")
    return torch.device(chosen)


def choose_runtime(
    device: Device = "auto",
    precision: Precision = "auto",
    *,
    compile: bool = False,
    shard: bool = False,
    stop: StopRequest | None = None,
    tracking: Tracking | None = None,
) -> Runtime:
    """Prepare for training: a device, and bfloat16 where it is faster than float32.

    Args:
        device: "auto" takes CUDA before MPS before the CPU. A process trains on one device only.
        precision: "auto" takes bfloat16 on GPUs that have it, and on CPUs with instructions for it.
        compile: Run training steps through `torch.compile`, which pays off in long trainings, and on a CUDA device as
            one graph, so that their hundreds of kernels cost one launch.
        shard: Divide the weights of priors among the processes.
        stop: Asked after each training step; None if nothing will ask the training to stop.
        tracking: Where else to show curves and pictures; None for nowhere.

    Raises:
        ConfigError: If the machine does not have the device, or this process already trains on another; if `compile`
            and `shard` are combined; or if `compile` lacks a C++ compiler on a CPU.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs  # takes a second to import
    from accelerate.state import AcceleratorState

    chosen = choose_device(device)
    if AcceleratorState._shared_state and AcceleratorState().device.type != chosen.type:
        raise ConfigError(
            f"`device` must be the one on which this process already trains ({AcceleratorState().device.type}), "
            f"got {chosen.type!r}; start a new process"
        )
    if compile and shard:
        raise ConfigError("`compile` and `shard` exclude each other; leave one out")
    if compile and chosen.type == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        raise ConfigError("`compile` needs a C++ compiler on a CPU, and there is none; install g++, or leave it out")
    join_processes()
    accelerator = Accelerator(
        cpu=chosen.type == "cpu",
        mixed_precision="no",  # autocast is ours, see `Runtime`
        # Processes keep their codebooks equal themselves. Broadcasting them would erase what each process has counted.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        log_with=None if tracking is None else list(tracking.log_to),
        project_dir=None if tracking is None else tracking.directory / TRACKING_FOLDER,
    )
    bfloat16 = precision == "bfloat16" or (precision == "auto" and _has_fast_bfloat16(chosen.type))
    tracker = Tracker(accelerator, "" if tracking is None else tracking.directory.resolve().name)
    return Runtime(accelerator, tracker, bfloat16, compile, shard, stop or StopRequest())


def _has_fast_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older releases of torch
        # Without these instructions, a CPU emulates bfloat16, which is many times slower.
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False
