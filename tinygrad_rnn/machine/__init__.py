"""Machine code by way of LLVM (github.com/numba/llvmlite).

lanes, blocks, functions   its vectors and loops, and exp, tanh and sigmoid of vectors
product, softmax           what is compiled beside loops: products of matrices, and the softmax's pass over logits
multiplying, sharing       products of arrays, and sharing large ones out among threads
choosing                   whether our product is used for these, or BLAS's
target, object_files       the compiler, and what it made before
calls                      what others call; refusal: why something is not compiled
"""
