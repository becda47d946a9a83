"""Kernels for GPUs, in Triton. Only ``support`` is imported before a tensor on a GPU asks for one."""
