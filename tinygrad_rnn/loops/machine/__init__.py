"""The loop as machine code, by way of LLVM: an emitter beside the one that writes NumPy.

views, lowering, simpler, schedule   what is to be done, entry by entry and product by product: no LLVM in it
entrywise, loop_code                 the same for LLVM: what each op is, and the loop
running                              addresses, threads
"""
