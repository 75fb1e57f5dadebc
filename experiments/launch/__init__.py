"""A point is started: here, on MPI processes, as a Slurm job, or not at all, since it is done already."""
