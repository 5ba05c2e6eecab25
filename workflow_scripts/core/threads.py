"""How many threads torch has on the CPU where their number changes the bits of a result.

Sums taken in another order are other sums, and a long training makes another model of them: the cores that a run was
given (`snakemake --cores`) must not decide. On a machine of one core the two threads take turns.
"""

TORCH_THREADS = 2
