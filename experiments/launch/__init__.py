"""Owns the start of points: runs them here, on MPI processes or as Slurm jobs, or finds their earlier records."""
