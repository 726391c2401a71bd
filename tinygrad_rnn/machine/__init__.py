"""Machine code by way of LLVM (github.com/numba/llvmlite).

lanes, blocks, functions   its vectors and loops, and exp, tanh and sigmoid of vectors
product                    the product of matrices
target, object_files       the compiler, and what it made before
"""
