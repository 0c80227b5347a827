"""How processes that train say how they ended."""

EXIT_FAILED, EXIT_WRONG_INPUT = 1, 2  # as of every verb
EXIT_LOST_A_RANK = 3  # of a rank that ends because another one did
EXIT_RESUMABLE = 75  # asked to stop, and saved: EX_TEMPFAIL of sysexits.h
