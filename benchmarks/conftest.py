"""What to note of a machine besides what pytest-benchmark notes."""

import torch

from moe_lib import native
from moe_lib.results import make_manifest


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["commit"] = make_manifest({}, [], "cpu")["commit"]
    machine_info["threads"] = torch.get_num_threads()
    machine_info["torch"] = torch.__version__
    machine_info["compiled"] = native.library() is not None
    if torch.cuda.is_available():
        machine_info["gpu"] = torch.cuda.get_device_name()
