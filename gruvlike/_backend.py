"""The backend that Keras runs on: where it computes, how much memory is free there, and its gradients."""

import ctypes
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import keras


def on_cpu() -> bool:
    """Returns whether the backend computes on a CPU."""
    if keras.backend.backend() == "torch":  # Keras has no `distribution` on torch
        return keras.ops.zeros(()).device.type == "cpu"
    return keras.distribution.list_devices() == keras.distribution.list_devices("cpu")


def no_gradient() -> AbstractContextManager[object]:
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()


def available_bytes() -> int | None:
    """Returns the free memory of the device that trains, or `None` where it is not known."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            return torch.cuda.mem_get_info()[0] + unused
    elif backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            found = device.memory_stats() or {}
            return found["bytes_limit"] - found["bytes_in_use"] if "bytes_limit" in found else None
    elif backend == "tensorflow":
        import tensorflow as tf

        if devices := tf.config.list_physical_devices("GPU"):
            limits = [one.memory_limit for one in tf.config.get_logical_device_configuration(devices[0]) or ()]
            total = 2**20 * limits[0] if limits and limits[0] else _cuda_bytes()
            # TensorFlow takes all memory for itself at first and tells only how much of that it has given out.
            return total and total - tf.config.experimental.get_memory_info("GPU:0")["current"]
    return host_bytes()


def _cuda_bytes() -> int | None:
    """All memory of the first GPU that this process may use, as its driver tells it; `None` without one."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, total = ctypes.c_int(), ctypes.c_size_t()
    calls = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device),
    )
    return None if any(call() for call in calls) else total.value  # each returns 0 where it worked


def host_bytes() -> int | None:
    """Free memory of this machine or container: the page cache counts as free."""
    found = []
    try:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    for path, key in (("/proc/meminfo", "MemAvailable:"), ("/sys/fs/cgroup/memory.max", "")):
        try:
            line = next(line for line in Path(path).read_text("ascii").splitlines() if line.startswith(key))
            found.append(int(line.removeprefix(key).split()[0]) * (1024 if key else 1))
        except (OSError, ValueError, StopIteration):  # the system is not Linux, or sets no limit ("max")
            continue
    return min(found)


def describe_gpus() -> str:
    """Names the GPUs that the backend found. Whether a layer runs on cuDNN depends on its shapes and arguments."""
    backend, cudnn = keras.backend.backend(), None
    if backend == "tensorflow":
        import tensorflow as tf

        names = [device.name for device in tf.config.list_physical_devices("GPU")]
        cudnn = tf.sysconfig.get_build_info().get("cudnn_version")
        cudnn = cudnn and f"TensorFlow was built for cuDNN {cudnn}"
    elif backend == "jax":
        import jax

        names = [str(device) for device in jax.devices() if device.platform == "gpu"]
    else:
        import torch

        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        cudnn = f"torch {'loads' if torch.backends.cudnn.is_available() else 'finds no'} cuDNN"
    if not names:
        return "none found; training runs on the processor"
    return "; ".join(filter(None, [", ".join(names), cudnn]))
