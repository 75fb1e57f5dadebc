"""SuiteSparse:GraphBLAS as a peer, to compare with."""
