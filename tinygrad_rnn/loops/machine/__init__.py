"""The loop as machine code, by way of LLVM: an emitter beside the one that writes NumPy.

views, lines, simpler, lowering   what is to be done, entry by entry and product by product: no LLVM in it
schedule                          in which order, and what of it lies in memory; none here either
entrywise, loop_code              the same for LLVM: what each op is, and the loop
running                           addresses, threads
"""
