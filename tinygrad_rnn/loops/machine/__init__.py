"""The loop as machine code, by way of LLVM: an emitter beside the one that writes NumPy.

views, lowering, simpler, schedule   what is to be done, entry by entry and product by product: no LLVM in it
lanes, blocks, functions, entrywise  LLVM's vectors and loops, and what each op is on them
loop_code, product                   the two kinds of function that are compiled
target, object_files, running        the compiler, what it made before, and running that
"""
