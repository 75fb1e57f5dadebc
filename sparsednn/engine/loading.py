"""Loads compiled networks from their folders: nothing is packed, generated or copied."""

from __future__ import annotations

import os
from pathlib import Path

from sparsednn.arguments.scalars import flag, instance_of
from sparsednn.backend import DirectNetwork, load_backend
from sparsednn.engine.compiled import CompiledNetwork
from sparsednn.engine.direct_calls import threads_of_calls
from sparsednn.engine.layouts import DirectLayout
from sparsednn.engine.prepared import PreparedNetwork
from sparsednn.engine.request import Request


def load(path: str | os.PathLike[str], threads: int | None = None, verify: bool = False) -> CompiledNetwork:
    """Load a compiled network that `CompiledNetwork.save` has written.

    Its layers stay in the files and are mapped into memory. The files must stay as they are while it is in use.

    Parameters
    ----------
    path : str or path
        The folder.
    threads : int, optional
        As of `sparsednn.infer`.
    verify : bool
        Read everything now, and compare all checksums; else a layout's are compared when it is first used.

    Returns
    -------
    CompiledNetwork
        With the options that it was compiled with.

    Raises
    ------
    FileNotFoundError, OSError
        If there is no such folder, or it is damaged, or of another version or machine.
    ValueError
        If the path is another kind of file.
    """
    from sparsednn.engine.saved import DIRECT, SavedNetwork, packed_network, require_layouts_of  # as in `CompiledNetwork.save`

    instance_of("path", path, (str, os.PathLike), "the path of a folder is needed")
    saved, verify = SavedNetwork(Path(path)), flag("verify", verify)
    header = saved.header
    backend = require_layouts_of(saved, load_backend(header["backend"]))
    asked = Request.checked(backend, header["kernel"], header["scheduler"], threads, False, saved.options())
    if verify:
        saved.check()
    prepared = PreparedNetwork(packed_network(saved), asked)
    if not saved.has(DIRECT):
        return CompiledNetwork(prepared, None)

    def make() -> DirectNetwork:
        return backend.restore_direct(saved.layout(DIRECT), threads_of_calls(asked))

    backend.warm_up_direct(saved.outline, asked.kernel.kernel, asked.kernel.weights)
    size, drops = saved.direct_size()
    return CompiledNetwork(prepared, DirectLayout(size, make, drops=drops, in_files=True))
