"""The loop as CUDA C, for arrays on a GPU: an emitter beside the ones that write NumPy and LLVM's code. The schedule is
that of machine code (`loops/machine/schedule.py`): a pass becomes a kernel, a product a call of cuBLAS.

entries_in_c     what each op is, entry by entry
kernel_source    a pass as a kernel
one_kernel_source, linear_lines
                 a loop whose entries do not meet as one kernel; where it is linear, several threads for a sequence
one_kernel       running that one
device           compiling and starting kernels, and products of matrices: by CuPy
cuda_loop        running a loop: what is where at each step, and what is started
"""
