"""A prepared inference is run on real threads: row groups, the executor, queues that processes share, the record."""
